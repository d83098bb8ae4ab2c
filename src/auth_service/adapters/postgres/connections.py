"""PostgreSQL connections: time limits that hold even when the server is frozen, a pool that survives a restart."""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg2
import psycopg2.extensions
from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from auth_service import clock
from auth_service.adapters.circuit_breaker import CircuitBreaker

STATEMENT = timedelta(milliseconds=1200)
LOCK = timedelta(milliseconds=1000)
IDLE_IN_TRANSACTION = timedelta(seconds=5)
POOL_WAIT = timedelta(seconds=1)
ANSWER = timedelta(milliseconds=1500)
"""The longest wait for any answer, connecting included. Longer than STATEMENT, so that a server that is only slow gets
to say so itself; shorter than two seconds, within which every fault is answered."""
REST = timedelta(milliseconds=500)
"""How long nobody asks a server that hung."""

_MS = timedelta(milliseconds=1)


class NoAnswer(psycopg2.OperationalError):
    """The server did not answer within the budget."""


class CircuitOpen(psycopg2.OperationalError):
    """The server was not asked, because it did not answer a moment ago."""


class DeadlineConnection(psycopg2.extensions.connection):
    """A connection that waits a bounded time for every answer of the server.

    The server enforces statement_timeout, but a server that is stopped, or a network that swallows packets, enforces
    nothing; libpq itself would wait for ever.
    """

    answer_within: float | None = ANSWER.total_seconds()
    on_timeout: Callable[[], None] | None = None
    """Called when the server did not answer in time."""
    opened_at: float = float("-inf")
    """When it was opened, in monotonic seconds."""
    is_unused: bool = False


def _wait(connection: psycopg2.extensions.connection) -> None:
    """Wait for the server as psycopg2's own loop does, but not beyond the connection's budget."""
    # Written without a clock of its own: each poll waits anew, and an answer that arrives in pieces is an answer.
    budget = getattr(connection, "answer_within", None)
    milliseconds = None if budget is None else budget * 1000
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        events = select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        poller = select.poll()
        poller.register(connection.fileno(), events)
        if not poller.poll(milliseconds):
            if (on_timeout := getattr(connection, "on_timeout", None)) is not None:
                on_timeout()
            raise NoAnswer("the server did not answer in time")


psycopg2.extensions.set_wait_callback(_wait)


def engine_options(*, connections: int) -> dict[str, Any]:
    """Keyword arguments for `create_engine`: a pool of a fixed size and every budget.

    There is no overflow: connections that are opened under load and closed again cost more than they bring.
    """
    limits = {
        "statement_timeout": STATEMENT,
        "lock_timeout": LOCK,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    }
    return {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": POOL_WAIT.total_seconds(),
        "pool_use_lifo": True,
        # The unit of work sends BEGIN and COMMIT itself, within its messages.
        "isolation_level": "AUTOCOMMIT",
        "connect_args": {
            "connection_factory": DeadlineConnection,
            "options": " ".join(f"-c {name}={limit // _MS}" for name, limit in limits.items()) + " -c timezone=UTC",
            "application_name": "auth-service",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 5000,
        },
    }


class PoolGuard:
    """Makes a pool notice dead connections before they are used, and fail at once while the server hangs."""

    def __init__(self, *, breaker: CircuitBreaker) -> None:
        """`breaker` is told whether the server can be reached and whether it answers."""
        self._breaker = breaker
        self._suspect_before = float("-inf")
        """Connections that were opened before this instant may hang as another one did."""

    def watch(self, engine: Engine) -> None:
        """Listen to what happens to the engine's connections."""
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "checkin", self._checked_in)

    def _connect(self, dialect: Dialect, _: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]) -> Any:
        self._refuse_while_open()
        try:
            return dialect.connect(*arguments, **options)
        except psycopg2.OperationalError:
            self._breaker.failed()
            raise

    def _connected(self, connection: DeadlineConnection, _: ConnectionPoolEntry) -> None:
        connection.on_timeout = self._timed_out
        connection.opened_at = clock.monotonic()
        connection.is_unused = True
        self._breaker.succeeded()

    def _timed_out(self) -> None:
        # A session that ended (an administrator, a failover) says nothing about the next one, and its end can be read
        # before the connection is used. Only a server that does not answer is counted.
        self._suspect_before = clock.monotonic()
        self._breaker.failed()

    def _checked_out(self, connection: DeadlineConnection, *_: Any) -> None:
        if connection.is_unused:
            connection.is_unused = False
            return
        # Nothing has been asked, so anything that can be read is the end of the session. This costs two microseconds
        # where a ping costs a round trip.
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        if connection.opened_at < self._suspect_before or poller.poll(0):
            raise DisconnectionError
        self._refuse_while_open()

    def _checked_in(self, connection: DeadlineConnection | None, _: ConnectionPoolEntry) -> None:
        if connection is not None and not connection.closed:
            self._breaker.succeeded()

    def _refuse_while_open(self) -> None:
        if not self._breaker.lets_through():
            raise CircuitOpen("the server did not answer a moment ago")


@contextmanager
def maintenance_engine(url: str) -> Iterator[Engine]:
    """An engine for migrations and maintenance: one connection at a time, and no budget but the caller's."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"options": "-c timezone=UTC", "connect_timeout": 5})
    try:
        yield engine
    finally:
        engine.dispose()
