#!/bin/sh
# Starts Redis as the user `redis`. The password comes by standard input, so no file and no process list contains it.
set -eu

chown redis: /data
exec setpriv --reuid redis --regid redis --clear-groups redis-server - <<END
include /service/redis.conf
requirepass $REDISCLI_AUTH
END
