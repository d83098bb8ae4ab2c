#!/bin/sh
# Writes `.env` for production in containers, with new secrets, if there is none. Adds secrets that a newer release needs
# to an existing one. `make up` calls this script.
set -eu
umask 077

env_file=.env

SECRET_NAMES="CODE_KEY OUTBOX_KEY SESSION_KEY KEYRING_KEY POSTGRES_PASSWORD APP_DATABASE_PASSWORD REDIS_PASSWORD"

# A secret of at least 256 bits in characters that need no escaping in a URL.
secret() {
    if command -v openssl >/dev/null 2>&1; then
        openssl rand -base64 48 | tr '+/' '-_' | tr -d '=\n'
    elif command -v python3 >/dev/null 2>&1; then
        python3 -c 'import secrets; print(secrets.token_urlsafe(48), end="")'
    else
        od -An -N 48 -tx1 /dev/urandom | tr -d ' \n'
    fi
}

# Checks the length of each secret: an empty one would mean a database without a password.
line_with_secret() {
    value=$(secret)
    [ "${#value}" -ge 43 ] || { echo "This machine has no source of random numbers; $env_file was not written." >&2; exit 1; }
    echo "$1=$value"
}

is_named() {
    grep -qE "^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=" "$env_file"
}

# A path of the host does not exist in a container, so a secret in a file would silently be ignored.
refuse_files() {
    for name in $SECRET_NAMES; do
        is_named "${name}_FILE" || continue
        echo "$env_file names ${name}_FILE, but containers cannot read files of the host: write $name=… instead." >&2
        exit 1
    done
}

# Adds only names that are missing; a name with an empty value stays.
add_missing() {
    for name in $SECRET_NAMES; do
        is_named "$name" && continue
        line=$(line_with_secret "$name")
        printf '\n%s\n' "$line" >>"$env_file"
        echo "Added a new $name to $env_file."
    done
}

if [ -e "$env_file" ]; then
    profile=$(sed -n 's/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}APP_ENV[[:space:]]*=[[:space:]]*//p' "$env_file" | tail -n 1 | tr -d "\"'[:space:]")
    case ${profile:-production} in
        production) refuse_files; add_missing; exit 0 ;;
    esac
    echo "The .env here is for APP_ENV=$profile, but \`make up\` starts production and needs settings of production." >&2
    echo "Move it and run \`make up\` again, which writes a new one with new secrets; or run \`make up_local_compose\`." >&2
    exit 1
fi

# Written to a temporary file and then renamed, so that an interrupted run leaves no partial file.
new=$env_file.new.$$
trap 'rm -f "$new"' EXIT
{
    echo "# Settings of production in containers, written by \`make up\`; docs/operations.md explains every name."
    echo "# Back it up and keep it secret: the data in the volumes cannot be read without these values."
    echo "APP_ENV=production"
    echo
    echo "# The address under which users reach the service, the sender address of emails, and the mail server."
    echo "PUBLIC_URL=https://localhost:5000"
    echo "MAIL_FROM=no-reply@localhost"
    echo "SMTP_URL=smtp://host.docker.internal:25"
    echo
    for name in $SECRET_NAMES; do line_with_secret "$name"; done
} >"$new"
mv "$new" "$env_file"

cat <<EOT
Wrote $env_file, readable by you only, with new secrets for codes, emails, sessions, signing keys, PostgreSQL and Redis. Keep it with your
backups.
Before you put the service into use, change these settings in it and run \`make up\` again:
  PUBLIC_URL  https://localhost:5000: the https address under which users reach the service
  MAIL_FROM   no-reply@localhost: the sender address of emails
  SMTP_URL    smtp://host.docker.internal:25: the mail server; the default is this machine, whose mail server has to listen for containers
EOT
