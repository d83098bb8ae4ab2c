"""Redis: one Lua call on one key at a time, within a budget, or RedisAway."""

import hashlib
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry

from auth_service.adapters.breaker import Breaker
from auth_service.errors import RedisAway

log = logging.getLogger(__name__)

BUDGET = timedelta(milliseconds=500)
NAMESPACE = "auth:"

T = TypeVar("T")


NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
"""Begins a script that needs the time: milliseconds by the server's own clock, in `now`."""


class Script:
    """A Lua script, known to the server by its digest."""

    def __init__(self, source: str) -> None:
        """`source` works on KEYS[1] only, so that it also runs on a Redis Cluster."""
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisStore:
    """Runs scripts and a few plain commands; every failure is RedisAway, none is tried twice.

    Trying again would be wrong: a script whose answer was lost may have run, and a guess would be counted twice.
    """

    def __init__(self, *, url: str, connections: int) -> None:
        """`url` is a redis:// or rediss:// address; `connections` the most that this process opens."""
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=BUDGET.total_seconds(),
            socket_timeout=BUDGET.total_seconds(),
            socket_connect_timeout=BUDGET.total_seconds(),
            retry=Retry(NoBackoff(), 0),
        )
        self._client = redis.Redis(connection_pool=pool)
        self._breaker = Breaker(rest=timedelta(seconds=1))

    def run(self, script: Script, key: str, *arguments: str | bytes | int) -> Any:
        """Run `script` on one key (without the namespace)."""
        return self._answered(lambda: self._evaluated(script, NAMESPACE + key, arguments))

    def get(self, key: str) -> bytes | None:
        """Read a plain value."""
        found = self._answered(lambda: self._client.get(NAMESPACE + key))
        return found if isinstance(found, bytes) else None

    def put(self, key: str, value: str, *, ttl: timedelta) -> None:
        """Write a plain value that lives for `ttl`."""
        self._answered(lambda: self._client.set(NAMESPACE + key, value, px=ttl))

    def ping(self) -> None:
        """Raise RedisAway unless the server answers."""
        self._answered(self._client.ping)

    def eviction_policy(self) -> str | None:
        """The server's maxmemory-policy; None where the server does not tell (managed ones may not)."""
        try:
            found = self._client.config_get("maxmemory-policy")
        except redis.exceptions.ResponseError:
            return None
        except RedisError as away:
            raise RedisAway(retry_after=1) from away
        return str(found.get("maxmemory-policy") or "") or None

    def close(self) -> None:
        """Close all connections; the next call opens new ones. Needed before a fork."""
        self._client.connection_pool.disconnect()

    def _evaluated(self, script: Script, key: str, arguments: tuple[str | bytes | int, ...]) -> Any:
        try:
            return self._client.evalsha(script.sha, 1, key, *arguments)
        except NoScriptError:  # the server was restarted
            return self._client.eval(script.source, 1, key, *arguments)

    def _answered(self, ask: Callable[[], T]) -> T:
        if not self._breaker.lets_through():
            raise RedisAway(retry_after=1)
        try:
            answer = ask()
        except (RedisConnectionError, RedisTimeout) as away:
            self._breaker.failed()
            log.warning("redis does not answer", extra={"trouble": type(away).__name__})
            raise RedisAway(retry_after=1) from away
        except RedisError as refused:
            log.warning("redis refuses", extra={"trouble": type(refused).__name__})
            raise RedisAway(retry_after=1) from refused
        self._breaker.succeeded()
        return answer
