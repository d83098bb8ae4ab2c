#!/bin/sh
# Fail unless compose accepts the files, with the settings of a developer's machine.
set -eu
compose=$1; shift
exec $compose --env-file .env.test "$@" config --quiet
