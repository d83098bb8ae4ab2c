"""Units of work: the only place that commits, and the words for a database that does not answer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from auth_service.errors import DatabaseAway, Refusal, ServiceBusy
from auth_service.models.base import connection_of_work, db

log = logging.getLogger(__name__)


class _Work:
    """What a unit of work has opened: nothing as long as nobody writes, then one connection."""

    def __init__(self) -> None:
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = db.engine.connect()
        return self._connection

    def commit(self) -> None:
        if db.session.registry.has():
            db.session.commit()  # writes what is pending; where it did not begin the transaction, that goes on
        if self._connection is not None:
            self._connection.commit()

    def close(self) -> None:
        # Closing returns the connection and rolls back what was not committed.
        if db.session.registry.has():
            db.session.remove()
        if self._connection is not None:
            self._connection.close()


@contextmanager
def unit_of_work() -> Iterator[None]:
    """Commit once when the block ends, roll back when it raises.

    A refusal whose class says `keeps_work` is committed and raised on. Raises DatabaseAway or ServiceBusy where
    PostgreSQL is away, too slow or at its limits; then nothing was kept, or, if the answer to COMMIT itself was lost,
    everything was: every operation is written so that repeating it converges.
    """
    work = _Work()
    before = connection_of_work.set(work.connection)
    with _translated():
        try:
            yield
        except Refusal as refusal:
            if refusal.keeps_work:
                work.commit()
            raise
        else:
            work.commit()
        finally:
            work.close()
            connection_of_work.reset(before)


def writing() -> Connection:
    """The connection of this unit of work, in a transaction that begins with the first statement.

    For statements that need nothing of the ORM: they cost half of what they do in a session. `db.session` joins in.
    """
    return connection_of_work.get()()


@contextmanager
def reading() -> Iterator[Connection]:
    """A connection in autocommit: for reads that need no transaction, in one round trip instead of three.

    Raises DatabaseAway or ServiceBusy, as a unit of work does: who calls is asked, and keys are read, outside of one.
    """
    with _translated(), db.engine.connect() as connection:
        # The driver's own switch, which asks the server nothing. SQLAlchemy's isolation level has to be set back with a
        # round trip when the connection is returned, and that fails beyond its own care if the server has just died.
        driver: Any = connection.connection.dbapi_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as busy:
        log.warning("no database connection became free in time")
        raise ServiceBusy(retry_after=1) from busy
    except (OperationalError, InterfaceError) as away:
        log.warning("the database does not answer", extra={"trouble": _trouble(away)})
        raise DatabaseAway(retry_after=1) from away
    except DBAPIError as error:
        # A connection that died in the middle surfaces as the bare base class of the driver.
        if not error.connection_invalidated:
            raise
        log.warning("the database connection was lost", extra={"trouble": _trouble(error)})
        raise DatabaseAway(retry_after=1) from error


def _trouble(error: DBAPIError) -> str:
    """Name the trouble without the statement and its parameters, which may hold addresses."""
    return f"{type(error.orig).__name__} {getattr(error.orig, 'pgcode', None) or ''}".strip()
