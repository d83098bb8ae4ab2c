#!/bin/sh
# Starts Redis as its own user, with a password that stands in no file and in no list of processes.
set -eu

chown redis: /data
exec setpriv --reuid redis --regid redis --clear-groups redis-server - <<END
include /service/redis.conf
requirepass $REDISCLI_AUTH
END
