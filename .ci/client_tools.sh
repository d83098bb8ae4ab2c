#!/bin/sh
# Download what the tests of generated clients need: OpenAPI Generator, and the modules of its Go client. Without them, the
# tests are reported as skipped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
sources=$root/tests/clients/generated/openapi_generator
jars=$root/.venv/jars
intact() { mkdir -p "$jars" && (cd "$jars" && sha256sum --check --status "$sources/jars.sha256" 2>/dev/null); }

if ! intact; then
    if command -v mvn >/dev/null; then
        mvn --quiet --batch-mode -Dstyle.color=never --file "$sources/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars"
        intact || { rm -r "$jars"; echo "a file of Maven has another digest than jars.sha256" >&2; exit 1; }
    else
        echo "SKIPPED: the clients of OpenAPI Generator, because mvn is not installed (Debian: maven)"
    fi
fi
if command -v go >/dev/null; then
    (cd "$sources/go" && go mod download)
else
    echo "SKIPPED: the Go client, because go is not installed (Debian: golang)"
fi
