#!/bin/sh
# Fail unless deploy/requirements*.txt are identical to an export of the lock file.
set -eu
new=$(mktemp -d); trap 'rm -rf "$new"' EXIT
poetry export --quiet --only main --output "$new/requirements.txt"
poetry export --quiet --with dev,embedded --output "$new/requirements-dev.txt"
for file in requirements.txt requirements-dev.txt; do
    diff -u "deploy/$file" "$new/$file"
done
