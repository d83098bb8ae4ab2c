"""Database transaction of a unit of work: writes are collected, sent in few round trips, and committed once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from auth_service.db.base import db
from auth_service.db.prepared import Call, DriverConnection, R, Row
from auth_service.errors import DatabaseUnavailable, ServiceBusy, ServiceError

log = logging.getLogger(__name__)

UNIQUE_VIOLATION = "23505"


class UniqueViolation(Exception):
    """A unique constraint refused a write; the transaction can only be rolled back."""


class Transaction:
    """The writes of one unit of work.

    `write` only collects: the statement is sent with the next one whose rows are needed, at the latest with the COMMIT.
    So one more row is one more call, before or after any other, and costs no round trip. A connection is taken when
    the first statement is sent. Each statement has its own snapshot (READ COMMITTED), in the order of the calls.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._collected: list[Call[Any]] = []
        self._connection: DriverConnection | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written, so that a read needs no part in this transaction."""
        return self._connection is None and not self._collected

    def write(self, call: Call[Any]) -> None:
        """Add a statement whose rows are not needed."""
        self._collected.append(call)

    def fetch_all(self, call: Call[R]) -> list[R]:
        """Send what was collected and this statement; return its rows.

        Raises UniqueViolation, DatabaseUnavailable, ServiceBusy, also for a statement that was collected before.
        """
        self.write(call)
        make = call.statement.row
        return [make(*row) for row in self._send(before=b"" if self._connection else b"BEGIN")]

    def fetch_one(self, call: Call[R]) -> R | None:
        """Return the first row, or None where there is none; otherwise as `fetch_all`."""
        rows = self.fetch_all(call)
        return rows[0] if rows else None

    def commit(self) -> None:
        """Send what was collected, and commit.

        Where nothing was sent before, one message holds the whole transaction, which PostgreSQL commits by itself
        before it answers.
        """
        if self._connection is None:
            if self._collected:
                self._send()
            return
        self._send(after=b"COMMIT")
        # PostgreSQL answers COMMIT with ROLLBACK where a statement failed before.
        if self._connection.last_command != "COMMIT":
            raise RuntimeError("the transaction was rolled back: one of its statements had failed")

    def close(self) -> None:
        """Return the connection, and roll back what was not committed."""
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

    An error whose class says `commit_on_raise` is committed and raised on. Raises DatabaseUnavailable or ServiceBusy
    where PostgreSQL is unavailable, too slow or at its limits; then nothing was committed, or everything, if the answer
    to COMMIT was lost: every operation is idempotent, so that the client may repeat it.
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
    """Return the transaction of the unit of work that runs. Raises RuntimeError outside of one."""
    current = _current.get()
    if current is None:
        raise RuntimeError("a write needs a unit of work")
    return current


def fetch_one(call: Call[R]) -> R | None:
    """Return the first row of a statement that only reads, or None where there is none.

    In one round trip and in autocommit, as long as the unit of work has written nothing; after that within its
    transaction, so that it sees the writes. Raises DatabaseUnavailable, ServiceBusy.
    """
    current = _current.get()
    if current is not None and not current.is_empty:
        return current.fetch_one(call)
    engine = db.engine
    with _driver_errors_translated(engine):
        connection = DriverConnection(engine)
        try:
            rows = connection.send([call])
        finally:
            connection.close()
    return call.statement.row(*rows[0]) if rows else None


@contextmanager
def autocommit() -> Iterator[Connection]:
    """Give a connection of SQLAlchemy for reads outside of a transaction. Raises DatabaseUnavailable, ServiceBusy."""
    try:
        with db.engine.connect() as connection:
            yield connection
    except PoolTimeout as error:
        raise _busy() from error
    except (OperationalError, InterfaceError) as error:
        raise _unavailable(error.orig) from error
    except DBAPIError as error:
        # A connection that died while a statement ran surfaces as the base class of the driver's errors.
        if not error.connection_invalidated:
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
        # A connection that died while a statement ran: the base class, without an SQLSTATE.
        if error.pgcode is None and type(error) is driver.DatabaseError:
            raise _unavailable(error) from error
        raise


def _busy() -> ServiceBusy:
    log.warning("no database connection became free in time")
    return ServiceBusy(retry_after=1)


def _unavailable(error: BaseException | None) -> DatabaseUnavailable:
    # Without the statement and its parameters, which may hold email addresses.
    reason = f"{type(error).__name__} {getattr(error, 'pgcode', None) or ''}".strip()
    log.warning("the database does not answer", extra={"trouble": reason})
    return DatabaseUnavailable(retry_after=1)
