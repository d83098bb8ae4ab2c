"""Units of work: the only place that commits, and the words for a database that does not answer."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from auth_service.errors import DatabaseAway, Refusal, ServiceBusy
from auth_service.models import prepared
from auth_service.models.base import db
from auth_service.models.prepared import Prepared, Row, Step

log = logging.getLogger(__name__)


class _Work:
    """What a unit of work has opened: nothing as long as nobody writes, then one connection."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._over = False

    def at_once(self, steps: Sequence[Step]) -> list[Row]:
        if self._connection is not None:
            return prepared.run_within(self._connection, steps)
        self._must_go_on()
        self._over = True
        return prepared.run(db.engine, steps)

    def connection(self) -> Connection:
        self._must_go_on()
        if self._connection is None:
            self._connection = db.engine.connect()
        return self._connection

    def _must_go_on(self) -> None:
        # More would be kept or lost apart from what was written at once.
        if self._over:
            raise RuntimeError("this unit of work has been committed")

    def commit(self) -> None:
        if self._connection is not None:
            self._connection.commit()

    def close(self) -> None:
        # Closing returns the connection and rolls back what was not committed.
        if self._connection is not None:
            self._connection.close()


_here: ContextVar[_Work] = ContextVar("unit_of_work")


@contextmanager
def unit_of_work() -> Iterator[None]:
    """Commit once when the block ends, roll back when it raises.

    A refusal whose class says `keeps_work` is committed and raised on. Raises DatabaseAway or ServiceBusy where
    PostgreSQL is away, too slow or at its limits; then nothing was kept, or, if the answer to COMMIT itself was lost,
    everything was: every operation is written so that repeating it converges.
    """
    work = _Work()
    before = _here.set(work)
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
            _here.reset(before)


def writing() -> Connection:
    """The connection of this unit of work, in a transaction that begins with the first statement.

    Statements of Core; through a session of the ORM they would cost twice as much.
    """
    return _here.get().connection()


def written_at_once(*steps: Step, more_follows: bool = False) -> Row | None:
    """Run statements as one transaction and return the first row of the last, if there is one.

    In one round trip that commits, where a transaction takes three and more: for a unit of work that has written
    nothing yet and has nothing to write afterwards. Where something was written before, or `more_follows`, they join
    the transaction of the unit of work.
    """
    if more_follows:
        writing()
    rows = _here.get().at_once(steps)
    return rows[0] if rows else None


def read_at_once(statement: Prepared, **values: Any) -> Row | None:
    """The first row of a statement, if there is one: what `reading` does, at half the price.

    In a unit of work only, which says DatabaseAway where the database is lost.
    """
    rows = prepared.run(db.engine, [(statement, values)])
    return rows[0] if rows else None


@contextmanager
def reading() -> Iterator[Connection]:
    """A connection in autocommit: for reads that need no transaction, in one round trip instead of three.

    Also outside a unit of work, where callers are asked who they are. Raises DatabaseAway, ServiceBusy.
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
