"""Database transaction of a unit of work: writes are collected, sent in few round trips, and committed once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine, func, literal_column, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from auth_service.db.base import db
from auth_service.db.prepared import READ_ONLY, Call, DriverConnection, NoParameters, R, Row, Statement
from auth_service.errors import DatabaseReadOnly, DatabaseUnavailable, ServiceBusy, ServiceError

log = logging.getLogger(__name__)

UNIQUE_VIOLATION = "23505"

SESSION_ENDED = frozenset({"25P03", "25P04"})
"""SQLSTATEs with which PostgreSQL ends a session that was idle, or busy, in a transaction for too long. psycopg2 counts
them among its internal errors; the other SQLSTATEs of an ended session are among its operational errors."""


# A standby reports `on`, whatever its configuration file says.
_IS_READ_ONLY = Statement(
    select(func.current_setting(literal_column("'transaction_read_only'"))), parameters=NoParameters, row=str
)


class UniqueViolation(Exception):
    """A unique constraint refused a write; the transaction can only be rolled back."""


class Transaction:
    """The writes of one unit of work.

    `write` only collects statements. They are sent together with the next statement whose rows are needed, at the
    latest with the COMMIT. So one more row is one more call, before or after any other, and costs no round trip. A
    connection is taken from the pool when the first statement is sent. The statements run in the order of the calls,
    each with its own snapshot (READ COMMITTED).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._collected: list[Call[Any]] = []
        self._connection: DriverConnection | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written, so that reads can run outside of this transaction."""
        return self._connection is None and not self._collected

    def write(self, call: Call[Any]) -> None:
        """Add a statement whose rows are not needed."""
        self._collected.append(call)

    def fetch_all(self, call: Call[R]) -> list[R]:
        """Send the collected statements and this one; return its rows.

        Raises UniqueViolation, DatabaseUnavailable, ServiceBusy, also because of a statement that was collected before.
        """
        self.write(call)
        convert = call.statement.row
        return [convert(*row) for row in self._send(before=b"" if self._connection else b"BEGIN")]

    def fetch_one(self, call: Call[R]) -> R | None:
        """Do the same as `fetch_all`, but return only the first row, or None."""
        rows = self.fetch_all(call)
        return rows[0] if rows else None

    def commit(self) -> None:
        """Send the collected statements and commit.

        If nothing was sent before, the transaction is a single message, which PostgreSQL commits implicitly: one round
        trip, without BEGIN and COMMIT.
        """
        if self._connection is None:
            if self._collected:
                self._send()
            return
        self._send(after=b"COMMIT")
        # PostgreSQL answers COMMIT with the tag ROLLBACK if a statement of the transaction failed.
        if self._connection.last_command != "COMMIT":
            raise RuntimeError("the transaction was rolled back: one of its statements had failed")

    def close(self) -> None:
        """Roll back what was not committed, and return the connection to the pool."""
        if self._connection is not None:
            self._connection.close()

    def _send(self, *, before: bytes = b"", after: bytes = b"") -> list[Row]:
        calls, self._collected = self._collected, []
        with _driver_errors_translated(self._engine):
            first = self._connection is None
            if self._connection is None:
                self._connection = DriverConnection(self._engine)
            return self._connection.send(calls, before=before, after=after, first=first)


_current: ContextVar[Transaction | None] = ContextVar("transaction", default=None)


@contextmanager
def unit_of_work(transaction_class: type[Transaction] = Transaction) -> Iterator[None]:
    """Commit the transaction once when the block ends, roll it back when the block raises.

    For an error whose class sets `commit_on_raise`, the transaction is committed and the error is raised again. Raises
    DatabaseUnavailable or ServiceBusy if PostgreSQL is unavailable, too slow or at its limits, DatabaseReadOnly if it
    accepts no writes. After such an error nothing was committed, except if only the answer to COMMIT was lost: then
    everything was. Every operation is idempotent, so the client can retry it.
    """
    current = transaction_class(db.engine)
    token = _current.set(current)
    try:
        yield
    except ServiceError as error:
        if error.commit_on_raise:
            current.commit()
        raise
    else:
        current.commit()
    finally:
        _current.reset(token)
        current.close()


def transaction() -> Transaction:
    """Return the transaction of the current unit of work. Raises RuntimeError outside of one."""
    current = _current.get()
    if current is None:
        raise RuntimeError("a write needs a unit of work")
    return current


def fetch_all(call: Call[R]) -> list[R]:
    """Return the rows of a read-only statement.

    It runs in autocommit, in one round trip, while the unit of work has written nothing; afterwards in the transaction
    of the unit of work, so that it sees the writes. Raises DatabaseUnavailable, ServiceBusy.
    """
    current = _current.get()
    if current is not None and not current.is_empty:
        return current.fetch_all(call)
    engine = db.engine
    with _driver_errors_translated(engine):
        connection = DriverConnection(engine)
        try:
            rows = connection.send([call])
        finally:
            connection.close()
    return [call.statement.row(*row) for row in rows]


def fetch_one(call: Call[R]) -> R | None:
    """Do the same as `fetch_all`, but return only the first row, or None."""
    rows = fetch_all(call)
    return rows[0] if rows else None


def accepts_writes() -> bool:
    """Whether the server accepts writes: not a standby, a demoted primary or a server whose disk is full.

    Raises DatabaseUnavailable, ServiceBusy.
    """
    return fetch_one(_IS_READ_ONLY({})) != "on"


@contextmanager
def autocommit() -> Iterator[Connection]:
    """Yield a SQLAlchemy connection for reads outside of the transaction. Raises DatabaseUnavailable, ServiceBusy."""
    try:
        with db.engine.connect() as connection:
            yield connection
    except PoolTimeout as error:
        raise _busy() from error
    except (OperationalError, InterfaceError) as error:
        raise _unavailable(error.orig) from error
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) == READ_ONLY:
            raise DatabaseReadOnly(retry_after=1) from error
        # A connection that broke while a statement ran: the driver raises the base class of its errors.
        if not error.connection_invalidated and getattr(error.orig, "pgcode", None) not in SESSION_ENDED:
            raise
        raise _unavailable(error.orig) from error


@contextmanager
def _driver_errors_translated(engine: Engine) -> Iterator[None]:
    driver = engine.dialect.loaded_dbapi
    try:
        yield
    except PoolTimeout as error:
        raise _busy() from error
    except (driver.OperationalError, driver.InterfaceError) as error:
        raise _unavailable(error) from error
    except driver.Error as error:
        if error.pgcode == UNIQUE_VIOLATION:
            raise UniqueViolation from error
        if error.pgcode == READ_ONLY:  # `PoolGuard` logs it
            raise DatabaseReadOnly(retry_after=1) from error
        if error.pgcode in SESSION_ENDED:
            raise _unavailable(error) from error
        # A connection that broke while a statement ran: the driver raises the base class, without an SQLSTATE.
        if error.pgcode is None and type(error) is driver.DatabaseError:
            raise _unavailable(error) from error
        raise


def _busy() -> ServiceBusy:
    log.warning("no database connection became free in time")
    return ServiceBusy(retry_after=1)


def _unavailable(error: BaseException | None) -> DatabaseUnavailable:
    # The statement and its parameters are not logged, because they may contain email addresses.
    reason = f"{type(error).__name__} {getattr(error, 'pgcode', None) or ''}".strip()
    log.warning("the database does not answer", extra={"error": reason})
    return DatabaseUnavailable(retry_after=1)
