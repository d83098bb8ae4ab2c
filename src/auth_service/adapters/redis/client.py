"""Redis client: Lua scripts, each on one key, with a time limit; every failure is RedisUnavailable."""

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
from redis.exceptions import (
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry

from auth_service.adapters.circuit_breaker import CircuitBreaker
from auth_service.adapters.redis.diagnosis import diagnose
from auth_service.errors import RedisUnavailable, ServiceBusy

log = logging.getLogger(__name__)

BUDGET = timedelta(milliseconds=500)
"""Time limit for connecting, for one reply, and for waiting until a connection is free."""
NAMESPACE = "auth:"

_WRITES_REFUSED = re.compile(r"\b(READONLY|NOREPLICAS|OOM|MISCONF)\b")
"""Error codes of a server that refuses writes: a replica, a primary without enough replicas, a full memory or disk.
They are searched in the whole text, because older servers put the error of a command inside the error of its script."""
_FULL = re.compile(r"\b(OOM|MISCONF)\b")
"""Error codes of a full primary. A new connection would lead to the same server, so existing ones are kept."""

T = TypeVar("T")
Argument = str | bytes | int
"""A part of a command."""


NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
"""The first lines of a script that needs the time: `now` is the clock of the server in milliseconds."""


class Script:
    """A Lua script, which the server caches under its digest (EVALSHA)."""

    def __init__(self, source: str) -> None:
        """`source` works on KEYS[1] only, so that it also runs on a Redis Cluster."""
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisReadOnly(RedisUnavailable):
    """Redis answers, but refuses writes; for clients of the API the same as RedisUnavailable."""


class RedisClient:
    """Runs scripts and a few plain commands. Each failure of the server raises RedisUnavailable.

    No command is retried: a script whose answer was lost may have run, so a retry could count an attempt twice.

    If all connections stay in use, the methods raise ServiceBusy. Then nothing was counted, and callers must not count
    in their own memory instead.
    """

    def __init__(self, *, url: str, connections: int) -> None:
        """`url` is a redis:// or rediss:// URL; `connections` is the maximum of this process."""
        self._url = url
        pool = redis.ConnectionPool.from_url(
            url,
            max_connections=connections,
            socket_timeout=BUDGET.total_seconds(),
            socket_connect_timeout=BUDGET.total_seconds(),
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # faster to parse than version 3, and sufficient for numbers and strings
        )
        # Not a pool of redis-py: those either report an exhausted pool like an unreachable server, or do not wait. They
        # and the client on top of them also reduce the rate of look-ups by a seventh (decision 17).
        self._connections = [pool.make_connection() for _ in range(connections)]
        self._idle: SimpleQueue[ConnectionInterface] = SimpleQueue()
        for connection in self._connections:
            self._idle.put(connection)
        self._breaker = CircuitBreaker(open_for=timedelta(seconds=1))

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
        value = self._guarded(lambda: self._command("GET", NAMESPACE + key))
        return value if isinstance(value, bytes) else None

    def put(self, key: str, value: str, *, ttl: timedelta) -> None:
        """Write a plain value that expires after `ttl`."""
        self._guarded(lambda: self._command("SET", NAMESPACE + key, value, "PX", ttl // timedelta(milliseconds=1)))

    def accepts_writes(self) -> bool:
        """Whether the server accepts a write. Raises RedisUnavailable.

        The probe is a write of the kind that the codes need, so it needs no other right (ACL) and detects a replica.
        """
        try:
            self.put("probe", "", ttl=timedelta(seconds=1))
        except RedisReadOnly:
            return False
        return True

    def eviction_policy(self) -> str | None:
        """Return the maxmemory-policy; None if the server does not report it (managed servers, ACL)."""
        policy = self._reported("CONFIG", "GET", "maxmemory-policy")
        return policy[1].decode() if policy else None

    def memory_used(self) -> int | None:
        """Return the bytes that the server uses; None if the server does not report them (managed servers, ACL)."""
        used = re.search(rb"^used_memory:(\d+)", self._reported("INFO", "memory") or b"", re.MULTILINE)
        return int(used[1]) if used else None

    def close(self) -> None:
        """Close all connections; the next call opens new ones. Needed before a fork."""
        for connection in self._connections:
            connection.disconnect()  # type: ignore[no-untyped-call]

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

    def _reported(self, *command: Argument) -> Any:
        """Send a command about the server itself; None if the server refuses the command. Raises RedisUnavailable."""
        try:
            return self._command(*command)
        except ResponseError:
            return None
        except RedisError as failure:
            raise RedisUnavailable(retry_after=1) from failure

    def _command(self, *arguments: Argument) -> Any:
        [answer] = self._send([arguments])
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    def _send(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Send commands in one round trip; return their answers, or an error in the place of an answer."""
        try:
            connection = self._idle.get(timeout=BUDGET.total_seconds())
        except Empty:
            # The server has not failed: the circuit stays closed and the connections stay open.
            log.warning("no redis connection became free in time")
            raise ServiceBusy(retry_after=1) from None
        try:
            _ensure_open(connection)
            connection.send_packed_command(connection.pack_commands(commands))  # type: ignore[no-untyped-call]
            return [_read(connection) for _ in commands]
        finally:
            self._idle.put(connection)

    def _error_of_reply(self, failure: RedisError) -> RedisUnavailable:
        """Translate an error that the server replied.

        Connections to a server that is not the primary are closed: after a failover, new ones reach the new primary.
        """
        refuses_writes = isinstance(failure, (ReadOnlyError, OutOfMemoryError)) or _WRITES_REFUSED.search(str(failure))
        is_full = isinstance(failure, OutOfMemoryError) or _FULL.search(str(failure))
        if (refuses_writes and not is_full) or isinstance(failure, (ClusterDownError, MovedError)):
            self._close_idle()
        return RedisReadOnly(retry_after=1) if refuses_writes else RedisUnavailable(retry_after=1)

    def _close_idle(self) -> None:
        """Close idle connections, so that the next call has to connect first.

        A server that hangs would execute commands on them later, and count attempts that were rejected.
        """
        with suppress(Empty):  # other threads may have taken the rest
            for _ in self._connections:
                connection = self._idle.get_nowait()
                connection.disconnect()  # type: ignore[no-untyped-call]
                self._idle.put(connection)

    def _guarded(self, command: Callable[[], T]) -> T:
        """Run `command` behind the circuit breaker, and translate its errors. Raises RedisUnavailable, ServiceBusy."""
        if not self._breaker.allows_call():
            raise RedisUnavailable(retry_after=1)
        try:
            answer = command()
        except (RedisConnectionError, RedisTimeout) as failure:
            self._breaker.failed()
            self._close_idle()
            log.warning("redis does not answer", extra=self._log_fields(failure))
            raise RedisUnavailable(retry_after=1) from failure
        except RedisError as failure:
            log.warning("redis answers with an error", extra=self._log_fields(failure))
            raise self._error_of_reply(failure) from failure
        self._breaker.succeeded()
        return answer

    def _log_fields(self, failure: RedisError) -> dict[str, str]:
        return {"error": type(failure).__name__, "reason": diagnose(failure, url=self._url).text}


def _ensure_open(connection: ConnectionInterface) -> None:
    """Connect if needed. No command is pending, so readable data means that the server has closed the connection."""
    if connection.is_connected:
        try:
            if not connection.can_read():
                return
        except RedisConnectionError:
            log.debug("redis closed the connection")
        connection.disconnect()  # type: ignore[no-untyped-call]
    connection.connect()  # type: ignore[no-untyped-call]


def _read(connection: ConnectionInterface) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:  # the connection stays usable
        return error
