#!/bin/sh
# Writes a backup of the production database in containers to a new file: `make backup`, `make backup FILE=…`.
# docs/backup.md explains it. COMPOSE is the command of Docker Compose.
set -eu
umask 077

file=${1:-backups/auth-$(date -u +%Y-%m-%dT%H%M%SZ).dump}

if [ -e "$file" ]; then
    echo "$file exists already; name another file: make backup FILE=…" >&2
    exit 1
fi
mkdir -p "$(dirname "$file")"

# Written to a temporary file, read back and then renamed, so that an interrupted run leaves no file that looks complete.
trap 'rm -f "$file.part"' EXIT
$COMPOSE exec -T postgres pg_dump --username=postgres --format=custom auth >"$file.part"
$COMPOSE exec -T postgres pg_restore --list <"$file.part" >/dev/null
mv "$file.part" "$file"

echo "Wrote $file, readable by you only. Keep it apart from .env, which has the secrets that it needs."
