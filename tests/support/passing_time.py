"""Passing time for rate limits and throttling: moves what Redis has counted into the past."""

from collections.abc import Callable
from datetime import timedelta

import redis

from tests.support.stores import Stores

_MS = timedelta(milliseconds=1)


def time_machine(stores: Stores) -> Callable[[timedelta], None]:
    """A function that lets time pass for everything that the limits and the login throttle have counted.

    Redis has its own clock, which a test cannot move. Instants become older and keys expire sooner by the same time.
    """

    def pass_time(time: timedelta) -> None:
        with redis.Redis.from_url(stores.redis_url) as client:
            for key in [*client.scan_iter("auth:limit:*"), *client.scan_iter("auth:throttle:*")]:
                _age(client, key, time // _MS)

    return pass_time


def _age(client: "redis.Redis", key: bytes, milliseconds: int) -> None:
    ttl = client.pttl(key) - milliseconds
    if ttl <= 0:
        client.delete(key)
        return
    if client.type(key) == b"list":
        for index, entry in enumerate(client.lrange(key, 0, -1)):
            instant, *network = (entry if isinstance(entry, str) else entry.decode()).split(" ")
            client.lset(key, index, " ".join([str(int(instant) - milliseconds), *network]))
    else:
        for name, value in client.hgetall(key).items():
            if name == b"until" or name[:2] in (b"f:", b"r:"):
                client.hset(key, name, int(value) - milliseconds)
    client.pexpire(key, ttl)
