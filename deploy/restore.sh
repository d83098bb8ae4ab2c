#!/bin/sh
# Restores a backup into the production database in containers: `make restore FILE=…`, on a new or an existing volume.
# docs/backup.md explains it. COMPOSE is the command of Docker Compose.
set -eu

file=${1:-}

if [ ! -r "$file" ]; then
    echo "Name the backup: make restore FILE=backups/….dump" >&2
    exit 1
fi
if [ ! -e .env ]; then
    echo "There is no .env here. Copy the .env of this backup to this folder: without its KEYRING_KEY and SESSION_KEY the" >&2
    echo "service cannot use the signing keys and sessions of the backup." >&2
    exit 1
fi

postgres() {
    $COMPOSE exec -T postgres "$@"
}

sql() {
    postgres psql --username=postgres --quiet --no-psqlrc --set=ON_ERROR_STOP=1 "$@"
}

$COMPOSE up --detach postgres
waited=0
until postgres pg_isready --quiet --host=127.0.0.1 --username=postgres --dbname=postgres; do
    waited=$((waited + 1))
    [ "$waited" -lt 90 ] || { echo "PostgreSQL does not start; see: make logs" >&2; exit 1; }
    sleep 1
done
postgres pg_restore --list <"$file" >/dev/null

# Into a database of its own, in one transaction: if anything fails, the present database is still there, unchanged.
postgres dropdb --username=postgres --if-exists --force auth_restoring
postgres createdb --username=postgres --template=template0 auth_restoring
sql --dbname=auth_restoring --file=/docker-entrypoint-initdb.d/roles.sql
postgres pg_restore --username=postgres --exit-on-error --single-transaction --dbname=auth_restoring <"$file"

$COMPOSE stop api mailer
sql --dbname=postgres --output=/dev/null <<'SQL'
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('auth', 'auth_before_restore');
DROP DATABASE IF EXISTS auth_before_restore;
SELECT 'ALTER DATABASE auth RENAME TO auth_before_restore' FROM pg_database WHERE datname = 'auth' \gexec
ALTER DATABASE auth_restoring RENAME TO auth;
SQL

echo "Restored $file. \`make up\` migrates the database and starts the service. The database as it was before is kept as"
echo "auth_before_restore; delete it when you do not need it: docker compose exec postgres dropdb -U postgres auth_before_restore"
