"""Redis client: one Lua call on one key at a time, within a budget, or RedisUnavailable."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry

from auth_service.adapters.circuit_breaker import CircuitBreaker
from auth_service.errors import RedisUnavailable, ServiceBusy

log = logging.getLogger(__name__)

BUDGET = timedelta(milliseconds=500)
NAMESPACE = "auth:"

T = TypeVar("T")
Argument = str | bytes | int
"""What a command consists of."""


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


class RedisClient:
    """Runs scripts and a few plain commands; each failure of the server is RedisUnavailable, no command is retried.

    A retry would be wrong: a script whose answer was lost may have run, and an attempt would be counted twice.

    ServiceBusy where all connections are in use: nothing was counted, and nothing is to be counted elsewhere instead.
    """

    def __init__(self, *, url: str, connections: int) -> None:
        """`url` is a redis:// or rediss:// address; `connections` the most that this process opens."""
        self._client = redis.Redis.from_url(
            url,
            max_connections=connections,
            socket_timeout=BUDGET.total_seconds(),
            socket_connect_timeout=BUDGET.total_seconds(),
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # scripts answer numbers and strings only, and it is read faster than version 3
        )
        # The pools of the client do not tell an exhausted pool from a server that is away, or do not wait.
        self._free = threading.BoundedSemaphore(connections)
        self._breaker = CircuitBreaker(rest=timedelta(seconds=1))

    def run(self, script: Script, key: str, *arguments: Argument) -> Any:
        """Run `script` on one key (without the namespace)."""
        [answer] = self.run_all([(script, key, arguments)])
        return answer

    def run_each(self, script: Script, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
        """Run `script` once for each key with its arguments: several calls, each on one key, in one round trip."""
        return self.run_all([(script, key, arguments) for key, arguments in calls])

    def run_all(self, calls: Sequence[tuple[Script, str, Sequence[Argument]]]) -> list[Any]:
        """Run scripts, each on one key with its arguments, in one round trip."""
        return self._guarded(lambda: self._evaluate(calls))

    def get(self, key: str) -> bytes | None:
        """Read a plain value."""
        value = self._guarded(lambda: self._client.get(NAMESPACE + key))
        return value if isinstance(value, bytes) else None

    def put(self, key: str, value: str, *, ttl: timedelta) -> None:
        """Write a plain value that lives for `ttl`."""
        self._guarded(lambda: self._client.set(NAMESPACE + key, value, px=ttl))

    def ping(self) -> None:
        """Raise RedisUnavailable unless the server answers."""
        self._guarded(self._client.ping)

    def eviction_policy(self) -> str | None:
        """The server's maxmemory-policy; None where the server does not tell (managed ones may not)."""
        try:
            with self._connection():
                policies: Any = self._client.config_get("maxmemory-policy")
        except ResponseError:
            return None
        except RedisError as failure:
            raise RedisUnavailable(retry_after=1) from failure
        policy: str | None = policies.get("maxmemory-policy")
        return policy

    def memory_used(self) -> int:
        """Bytes that the server uses. Raises RedisUnavailable, also where the server does not tell."""
        figures: Any = self._guarded(lambda: self._client.info("memory"))
        if "used_memory" not in figures:
            raise RedisUnavailable(retry_after=1)
        return int(figures["used_memory"])

    def close(self) -> None:
        """Close all connections; the next call opens new ones. Needed before a fork."""
        self._client.connection_pool.disconnect()

    def _evaluate(self, calls: Sequence[tuple[Script, str, Sequence[Argument]]]) -> list[Any]:
        commands = [(script, (1, NAMESPACE + key, *arguments)) for script, key, arguments in calls]
        answers = self._send([("EVALSHA", script.sha, *call) for script, call in commands])
        unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # the server was restarted
            again = self._send([("EVAL", commands[number][0].source, *commands[number][1]) for number in unknown])
            for number, answer in zip(unknown, again, strict=True):
                answers[number] = answer
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    def _send(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Send commands in one go and read their answers, or errors in their place."""
        if len(commands) == 1:  # most often, and a pipeline of one costs a fifth more
            try:
                return [self._client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]
            except ResponseError as error:
                return [error]
        with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipeline.execute(raise_on_error=False)

    @contextmanager
    def _connection(self) -> Iterator[None]:
        """Wait until a connection is free. Raises ServiceBusy."""
        if not self._free.acquire(timeout=BUDGET.total_seconds()):
            # Nothing is wrong with the server: the circuit stays closed, and no connection is given up.
            log.warning("no redis connection became free in time")
            raise ServiceBusy(retry_after=1)
        try:
            yield
        finally:
            self._free.release()

    def _guarded(self, ask: Callable[[], T]) -> T:
        if not self._breaker.allows_call():
            raise RedisUnavailable(retry_after=1)
        try:
            with self._connection():
                answer = ask()
        except (RedisConnectionError, RedisTimeout) as failure:
            self._breaker.failed()
            # The next call has to connect first: a server that hangs carries out later what it was sent meanwhile, and
            # an attempt would count that was refused.
            self._client.connection_pool.disconnect(inuse_connections=False)
            log.warning("redis does not answer", extra={"trouble": type(failure).__name__})
            raise RedisUnavailable(retry_after=1) from failure
        except RedisError as failure:
            log.warning("redis answers with an error", extra={"trouble": type(failure).__name__})
            raise RedisUnavailable(retry_after=1) from failure
        self._breaker.succeeded()
        return answer
