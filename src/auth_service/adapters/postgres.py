"""PostgreSQL's wire: budgets that hold even when the server is frozen, and a pool that survives its restart."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
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
            raise psycopg2.OperationalError("the server did not answer in time")


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


def guard(engine: Engine, *, breaker: Breaker) -> None:
    """Make the pool notice dead connections before they are used, and fail at once while the server hangs."""

    @event.listens_for(engine, "do_connect")
    def _connecting(*_: Any) -> None:
        _refuse_while_open(breaker)

    @event.listens_for(engine, "checkout")
    def _taken(connection: Any, entry: ConnectionPoolEntry, *_: Any) -> None:
        if not entry.info.pop("fresh", False):
            _refuse_while_open(breaker)
        # Nothing has been asked, so anything to read is a farewell. This costs two microseconds where a ping costs a
        # round trip.
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        if poller.poll(0):
            raise DisconnectionError

    @event.listens_for(engine, "connect")
    def _connected(_: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["fresh"] = True  # it has just been through the breaker
        breaker.succeeded()

    @event.listens_for(engine, "checkin")
    def _returned(connection: Any, _: ConnectionPoolEntry) -> None:
        if connection is not None:
            breaker.succeeded()

    @event.listens_for(engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:
        # A session that ended (an administrator, a failover) says nothing about the next one; only not being able to
        # connect, and not being answered, do.
        original = context.original_exception
        if isinstance(original, psycopg2.OperationalError) and original.pgcode is None:
            connected = context.connection is not None
            if not connected or "in time" in str(original):
                breaker.failed()


def _refuse_while_open(breaker: Breaker) -> None:
    if not breaker.lets_through():
        raise psycopg2.OperationalError("the server did not answer a moment ago")


@contextmanager
def patient_engine(url: str) -> Iterator[Engine]:
    """An engine for migrations and maintenance: one connection at a time, and no budget but the caller's."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"options": "-c timezone=UTC", "connect_timeout": 5})
    try:
        yield engine
    finally:
        engine.dispose()
