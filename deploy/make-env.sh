#!/bin/sh
# Writes `.env` for production in containers, with new secrets, if there is none. Adds secrets that a newer release needs
# to an existing one, and refuses misspelt names. `make up` calls this script. `make-env.sh value NAME` prints a value of
# `.env` for the Makefile.
#
# Compose, the service (src/auth_service/settings/env_file.py) and this script have to read the same values from `.env`, so
# this script and the service refuse a line that one of them would read differently.
set -eu
umask 077
LC_ALL=C
export LC_ALL

env_file=.env

SECRET_NAMES="CODE_KEY OUTBOX_KEY SESSION_KEY KEYRING_KEY SECOND_FACTOR_KEY POSTGRES_PASSWORD APP_DATABASE_PASSWORD REDIS_PASSWORD"
# Settings of the service that the containers do not get from `.env`: the Compose file or the Dockerfile sets them.
WITHOUT_EFFECT="DATABASE_URL DATA_DIR HTTP_HOST HTTP_PORT LISTEN_BEYOND_LOOPBACK METRICS_HOST METRICS_PORT \
MIGRATION_DATABASE_URL REDIS_URL TRUSTED_PROXIES"

tab=$(printf '\t')
cr=$(printf '\r')
byte_order_mark=$(printf '\357\273\277')
controls=$(printf '\001-\010\013-\037\177')

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

# Reading `.env`.

# Sets $trimmed to $1 without the white space around it.
trim() {
    trimmed=${1#"${1%%[!" $tab"]*}"}
    trimmed=${trimmed%"${trimmed##*[!" $tab"]}"}
}

read_differently() {
    fail "$env_file, line $number: the value of $name has quotes, a backslash, \$, \` or # that programs read differently; write it in single quotes"
}

# Sets $value to the text between two quotes ($2) at the beginning of $1; only a comment may follow.
read_quoted() {
    value=${1#"$2"}
    case $value in *"$2"*) ;; *) read_differently ;; esac
    trim "${value#*"$2"}"
    value=${value%%"$2"*}
    case $trimmed in "" | "#"*) ;; *) read_differently ;; esac
}

# Sets $value to the value in $1, the text behind the `=`.
read_value() {
    trim "$1"
    case $trimmed in
        "'"*)
            read_quoted "$trimmed" "'"
            case $value in *[\\]*) read_differently ;; esac
            ;;
        '"'*)
            read_quoted "$trimmed" '"'
            case $value in *[\\\$\`]*) read_differently ;; esac
            ;;
        "#"*) read_differently ;;
        *)
            trim "${trimmed%%" #"*}"
            value=$trimmed
            case $value in *[\'\"\\\$\`"$tab"]*) read_differently ;; esac
            ;;
    esac
}

# Sets $name and $value to those of $line; $name is empty for an empty line and for a comment.
read_line() {
    name=""
    trim "$line"
    case $trimmed in
        "" | "#"*) return ;;
        "export "* | "export$tab"*) trim "${trimmed#export}" ;;
    esac
    # shellcheck disable=SC2254 # the ranges of $controls
    case $trimmed in
        *[$controls]*) fail "$env_file, line $number: must be NAME=value, a comment (#) or empty" ;;
        *=*) ;;
        *) fail "$env_file, line $number: must be NAME=value, a comment (#) or empty" ;;
    esac
    text=${trimmed#*=}
    trim "${trimmed%%=*}"
    name=$trimmed
    case $name in
        "" | [0-9]* | *[!A-Za-z0-9_]*) fail "$env_file, line $number: must be NAME=value, a comment (#) or empty" ;;
        *[a-z]*) fail "$env_file, line $number: write $name in upper case, because Compose does not read it in lower case" ;;
    esac
    read_value "$text"
}

# Sets $names to all names, and value_of_NAME to the value of each; the last line of a name counts.
read_file() {
    names=" "
    number=0
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        [ "$number" -gt 1 ] || line=${line#"$byte_order_mark"}
        line=${line%"$cr"}
        read_line
        [ -n "$name" ] || continue
        names="$names$name "
        eval "value_of_$name=\$value"
    done <"$env_file"
}

is_named() {
    case $names in *" $1 "*) ;; *) return 1 ;; esac
}

if [ "${1-}" = value ]; then
    [ -e "$env_file" ] || exit 0
    read_file
    eval "printf '%s\n' \"\${value_of_$2-}\""
    exit 0
fi

# Names.

# Prints the names that docker-compose.yml and an override take from `.env`, one a line.
names_of_compose() {
    for file in docker-compose.yml docker-compose.override.yml; do
        [ -e "$file" ] || continue
        sed -n 's/^ *-\{0,1\} *\([A-Z][A-Z0-9_]*\):\{0,1\}$/\1/p' "$file"
        tr '$' '\n' <"$file" | sed -n 's/^{\([A-Z][A-Z0-9_]*\).*/\1/p'
    done
}

# Prints a hint at the name on standard input that is nearest to $1 (distance of Damerau and Levenshtein).
nearest() {
    command -v awk >/dev/null 2>&1 || return 0
    awk -v name="$1" '
        function least(a, b) { return a < b ? a : b }
        function distance(a, b,   i, j, d) {
            for (i = 0; i <= length(a); i++) d[i, 0] = i
            for (j = 0; j <= length(b); j++) d[0, j] = j
            for (i = 1; i <= length(a); i++)
                for (j = 1; j <= length(b); j++) {
                    d[i, j] = least(least(d[i - 1, j], d[i, j - 1]) + 1, d[i - 1, j - 1] + (substr(a, i, 1) != substr(b, j, 1)))
                    if (i > 1 && j > 1 && substr(a, i, 1) == substr(b, j - 1, 1) && substr(a, i - 1, 1) == substr(b, j, 1))
                        d[i, j] = least(d[i, j], d[i - 2, j - 2] + 1)
                }
            return d[length(a), length(b)]
        }
        { now = distance(name, $0); if (best == "" || now < fewest) { best = $0; fewest = now } }
        END { if (best != "" && fewest <= length(name) / 3) print "; did you mean " best "?" }'
}

# Refuses names that nothing reads, because a misspelt setting would silently keep its default.
check_names() {
    [ -e docker-compose.yml ] || return 0
    known=" APP_ENV $(names_of_compose | tr '\n' ' ') "
    unknown=""
    for name in $names; do
        case $name in COMPOSE_* | DOCKER_* | BUILDKIT_*) continue ;; esac
        case " $WITHOUT_EFFECT " in
            *" $name "*) echo "$name in $env_file has no effect on the containers; docker-compose.yml decides about it." >&2; continue ;;
        esac
        case $known in *" $name "*) continue ;; esac
        hint=$(printf '%s' "$known" | tr ' ' '\n' | sed '/^$/d' | nearest "$name")
        echo "$name: no setting has this name$hint" >&2
        unknown=$name
    done
    [ -z "$unknown" ] || fail "Correct or remove the names in $env_file, or pass them to the containers in docker-compose.yml."
}

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
    read_file
    profile=production
    eval "profile=\${value_of_APP_ENV:-production}"
    case $profile in
        production) refuse_files; check_names; add_missing; exit 0 ;;
    esac
    echo "The .env here is for APP_ENV=$profile, but \`make up\` starts production and needs settings of production." >&2
    echo "Move it and run \`make up\` again, which writes a new one with new secrets; or run \`make up_local_compose\`." >&2
    exit 1
fi

# Written to a temporary file and then renamed, so that an interrupted run leaves no partial file.
new=$env_file.new.$$
trap 'rm -f "$new"' EXIT
{
    echo "# Settings of production in containers, written by \`make up\`; docs/settings.md explains every name."
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
Wrote $env_file, readable by you only, with new secrets for codes, emails, sessions, signing keys, second factors, PostgreSQL and
Redis. Keep it with your backups.
Before you put the service into use, change these settings in it and run \`make up\` again:
  PUBLIC_URL  https://localhost:5000: the https address under which users reach the service
  MAIL_FROM   no-reply@localhost: the sender of emails, also as Portal <no-reply@example.org>
  SMTP_URL    smtp://host.docker.internal:25: the mail server; the default is this machine, whose mail server has to listen for containers
EOT
