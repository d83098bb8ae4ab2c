#!/bin/sh
# Fail unless Compose accepts the files with the settings of .env.test.
set -eu
compose=$1; shift
exec $compose --env-file .env.test "$@" config --quiet
