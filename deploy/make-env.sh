#!/bin/sh
# Makes `.env` for production in containers, with new secrets, when there is none; adds to an older one the secrets that
# a newer release needs. Called by `make up`.
set -eu
umask 077

env_file=.env

SECRET_NAMES="CODE_KEY OUTBOX_KEY SESSION_KEY KEYRING_KEY POSTGRES_PASSWORD APP_DATABASE_PASSWORD REDIS_PASSWORD"

# 256 bits or more that may stand in a URL as they are.
secret() {
    if command -v openssl >/dev/null 2>&1; then
        openssl rand -base64 48 | tr '+/' '-_' | tr -d '=\n'
    elif command -v python3 >/dev/null 2>&1; then
        python3 -c 'import secrets; print(secrets.token_urlsafe(48), end="")'
    else
        od -An -N 48 -tx1 /dev/urandom | tr -d ' \n'
    fi
}

# Each is looked at before it is used: an empty one would be a database without a password.
made() {
    value=$(secret)
    [ "${#value}" -ge 43 ] || { echo "This machine makes no random numbers; $env_file was not made." >&2; exit 1; }
    echo "$1=$value"
}

named() {
    grep -qE "^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=" "$env_file"
}

# A path of this machine is none in a container: what stands there would be passed over without a word.
refuse_files() {
    for name in $SECRET_NAMES; do
        named "${name}_FILE" || continue
        echo "$env_file names ${name}_FILE, and containers are given secrets themselves: write $name=… in its place." >&2
        exit 1
    done
}

# Only names that are not there at all.
add_missing() {
    for name in $SECRET_NAMES; do
        named "$name" && continue
        line=$(made "$name")
        printf '\n%s\n' "$line" >>"$env_file"
        echo "Added a new $name to $env_file."
    done
}

if [ -e "$env_file" ]; then
    profile=$(sed -n 's/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}APP_ENV[[:space:]]*=[[:space:]]*//p' "$env_file" | tail -n 1 | tr -d "\"'[:space:]")
    case ${profile:-production} in
        production) refuse_files; add_missing; exit 0 ;;
    esac
    echo "The .env here is for APP_ENV=$profile, and \`make up\` starts production: not with settings of another profile." >&2
    echo "Move it away and run \`make up\` again, which then makes one with secrets of its own; or run \`make up_local_compose\`." >&2
    exit 1
fi

# Written beside and then moved, so that there is never half a file.
new=$env_file.new.$$
trap 'rm -f "$new"' EXIT
{
    echo "# Settings of production in containers, made by \`make up\`; every name is explained in docs/operations.md."
    echo "# Keep it, and keep it secret: the data in the volumes can only be read with what stands here."
    echo "APP_ENV=production"
    echo
    echo "# The address under which people reach the service, the sender of its letters, and the server that takes them."
    echo "PUBLIC_URL=https://localhost:5000"
    echo "MAIL_FROM=no-reply@localhost"
    echo "SMTP_URL=smtp://host.docker.internal:25"
    echo
    for name in $SECRET_NAMES; do made "$name"; done
} >"$new"
mv "$new" "$env_file"

cat <<EOT
Made $env_file, readable by you only, with new secrets for codes, letters, sessions, signing keys, PostgreSQL and Redis. Keep it with your
backups.
Change in it before anybody else uses the service, and run \`make up\` again:
  PUBLIC_URL  https://localhost:5000: the address under which people reach it, by https
  MAIL_FROM   no-reply@localhost: the sender of letters
  SMTP_URL    smtp://host.docker.internal:25: the mail server; for now this machine's own, which has to listen for containers
EOT
