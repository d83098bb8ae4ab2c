"""Redis: one Lua call on one key at a time, within a budget, or RedisUnavailable."""

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface
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
Word = str | bytes | int
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
    """Runs scripts and a few plain commands; every failure of the server is RedisUnavailable, none is tried twice.

    ServiceBusy where all connections are taken: whatever was to be counted was not, and is not to be counted elsewhere.

    Trying again would be wrong: a script whose answer was lost may have run, and a guess would be counted twice.
    """

    def __init__(self, *, url: str, connections: int) -> None:
        """`url` is a redis:// or rediss:// address; `connections` the most that this process opens."""
        pool = redis.ConnectionPool.from_url(
            url,
            max_connections=connections,
            socket_timeout=BUDGET.total_seconds(),
            socket_connect_timeout=BUDGET.total_seconds(),
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # numbers and strings are all that scripts answer, and it is read faster than version 3
        )
        # The client's own pool looks at the process id, at two clocks and at listeners of which there are none whenever
        # a connection is taken or returned: 30 µs, where this queue takes one.
        self._connections = [pool.make_connection() for _ in range(connections)]
        self._idle: SimpleQueue[ConnectionInterface] = SimpleQueue()
        for connection in self._connections:
            self._idle.put(connection)
        self._breaker = CircuitBreaker(rest=timedelta(seconds=1))

    def run(self, script: Script, key: str, *arguments: Word) -> Any:
        """Run `script` on one key (without the namespace)."""
        [answer] = self.run_all([(script, key, arguments)])
        return answer

    def run_each(self, script: Script, calls: Sequence[tuple[str, Sequence[Word]]]) -> list[Any]:
        """Run `script` once for each key with its arguments: several calls, each on one key, in one round trip."""
        return self.run_all([(script, key, arguments) for key, arguments in calls])

    def run_all(self, calls: Sequence[tuple[Script, str, Sequence[Word]]]) -> list[Any]:
        """Run scripts, each on one key with its arguments, in one round trip."""
        return self._answered(lambda: self._evaluated(calls))

    def get(self, key: str) -> bytes | None:
        """Read a plain value."""
        found = self._answered(lambda: self._command("GET", NAMESPACE + key))
        return found if isinstance(found, bytes) else None

    def put(self, key: str, value: str, *, ttl: timedelta) -> None:
        """Write a plain value that lives for `ttl`."""
        self._answered(lambda: self._command("SET", NAMESPACE + key, value, "PX", ttl // timedelta(milliseconds=1)))

    def ping(self) -> None:
        """Raise RedisUnavailable unless the server answers."""
        self._answered(lambda: self._command("PING"))

    def eviction_policy(self) -> str | None:
        """The server's maxmemory-policy; None where the server does not tell (managed ones may not)."""
        try:
            found = self._command("CONFIG", "GET", "maxmemory-policy")
        except ResponseError:
            return None
        except RedisError as away:
            raise RedisUnavailable(retry_after=1) from away
        return found[1].decode() if found else None

    def memory_used(self) -> int:
        """Bytes that the server uses. Raises RedisUnavailable, also where the server does not tell."""
        lines: bytes = self._answered(lambda: self._command("INFO", "memory"))
        used = re.search(rb"^used_memory:(\d+)", lines, re.MULTILINE)
        if used is None:
            raise RedisUnavailable(retry_after=1)
        return int(used[1])

    def close(self) -> None:
        """Close all connections; the next call opens new ones. Needed before a fork."""
        for connection in self._connections:
            connection.disconnect()  # type: ignore[no-untyped-call]

    def _evaluated(self, calls: Sequence[tuple[Script, str, Sequence[Word]]]) -> list[Any]:
        wanted = [(script, (1, NAMESPACE + key, *arguments)) for script, key, arguments in calls]
        answers = self._asked([("EVALSHA", script.sha, *call) for script, call in wanted])
        unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # the server was restarted
            again = self._asked([("EVAL", wanted[number][0].source, *wanted[number][1]) for number in unknown])
            for number, answer in zip(unknown, again, strict=True):
                answers[number] = answer
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    def _hang_up(self) -> None:
        """Close the connections that are idle, so that whoever probes has to be greeted first.

        A server that hangs carries out later what it was sent meanwhile: a guess would count that was refused.
        """
        with suppress(Empty):  # others take them, too
            for _ in self._connections:
                connection = self._idle.get_nowait()
                connection.disconnect()  # type: ignore[no-untyped-call]
                self._idle.put(connection)

    def _command(self, *words: Word) -> Any:
        [answer] = self._asked([words])
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    def _asked(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Send commands in one go and read their answers, or errors in their place.

        The client's own way measures each command and could retry it, at the price of the command itself.
        """
        try:
            connection = self._idle.get(timeout=BUDGET.total_seconds())
        except Empty:
            # Nothing is wrong with the server: nobody else is to be kept from it, and no connection is to be closed.
            log.warning("no redis connection became free in time")
            raise ServiceBusy(retry_after=1) from None
        try:
            _open(connection)
            connection.send_packed_command(connection.pack_commands(commands))  # type: ignore[no-untyped-call]
            return [_answer(connection) for _ in commands]
        finally:
            self._idle.put(connection)

    def _answered(self, ask: Callable[[], T]) -> T:
        if not self._breaker.lets_through():
            raise RedisUnavailable(retry_after=1)
        try:
            answer = ask()
        except (RedisConnectionError, RedisTimeout) as away:
            self._breaker.failed()
            self._hang_up()
            log.warning("redis does not answer", extra={"trouble": type(away).__name__})
            raise RedisUnavailable(retry_after=1) from away
        except RedisError as refused:
            log.warning("redis refuses", extra={"trouble": type(refused).__name__})
            raise RedisUnavailable(retry_after=1) from refused
        self._breaker.succeeded()
        return answer


def _open(connection: ConnectionInterface) -> None:
    """Make sure that a connection can be asked: nothing has been, so anything to read is a farewell or left behind."""
    if connection.is_connected:
        try:
            if not connection.can_read():
                return
        except RedisConnectionError:
            log.debug("redis hung up")
        connection.disconnect()  # type: ignore[no-untyped-call]
    connection.connect()  # type: ignore[no-untyped-call]


def _answer(connection: ConnectionInterface) -> Any:
    try:
        return connection.read_response()
    except ResponseError as refused:  # the rest of the conversation is not affected
        return refused
