"""PostgreSQL's wire: budgets that hold even when the server is frozen, and a pool that survives its restart."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg2
import psycopg2.extensions
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from auth_service.adapters.breaker import Breaker

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


class PunctualConnection(psycopg2.extensions.connection):
    """A connection that waits a bounded time for every answer of the server.

    The server enforces statement_timeout, but a server that is stopped, or a network that swallows packets, enforces
    nothing; libpq itself would wait for ever.
    """

    answer_within: float | None = ANSWER.total_seconds()


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
        "connect_args": {
            "connection_factory": PunctualConnection,
            "options": " ".join(f"-c {name}={limit // _MS}" for name, limit in limits.items()) + " -c timezone=UTC",
            "application_name": "auth-service",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 5000,
        },
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Makes a pool notice dead connections before they are used, and fail at once while the server hangs."""

    breaker: Breaker

    def watch(self, engine: Engine) -> None:
        """Listen to everything that happens to the engine's connections."""
        event.listen(engine, "do_connect", self._connecting)
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._taken)
        event.listen(engine, "checkin", self._returned)
        event.listen(engine, "handle_error", self._failed)

    def _connecting(self, *_: Any) -> None:
        self._refuse_while_open()

    def _connected(self, _: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["fresh"] = True
        self.breaker.succeeded()

    def _taken(self, connection: Any, entry: ConnectionPoolEntry, *_: Any) -> None:
        if entry.info.pop("fresh", False):
            return
        # Nothing has been asked, so anything to read is a farewell. This costs two microseconds where a ping costs a
        # round trip.
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        if poller.poll(0):
            raise DisconnectionError
        self._refuse_while_open()

    def _returned(self, connection: Any, _: ConnectionPoolEntry) -> None:
        if connection is not None:
            self.breaker.succeeded()

    def _failed(self, context: ExceptionContext) -> None:
        # A session that ended (an administrator, a failover) says nothing about the next one; only not being able to
        # connect, and not being answered, do. Nor does our own refusal: counting it would keep the circuit open for
        # as long as there are requests.
        error = context.original_exception
        unreachable = context.connection is None and isinstance(error, psycopg2.OperationalError)
        if isinstance(error, NoAnswer) or (unreachable and not isinstance(error, CircuitOpen)):
            self.breaker.failed()

    def _refuse_while_open(self) -> None:
        if not self.breaker.lets_through():
            raise CircuitOpen("the server did not answer a moment ago")


@contextmanager
def patient_engine(url: str) -> Iterator[Engine]:
    """An engine for migrations and maintenance: one connection at a time, and no budget but the caller's."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"options": "-c timezone=UTC", "connect_timeout": 5})
    try:
        yield engine
    finally:
        engine.dispose()
