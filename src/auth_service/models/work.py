"""Units of work: the only place that commits, and the words for a database that does not answer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from auth_service.errors import DatabaseAway, Refusal, ServiceBusy
from auth_service.models.base import db

log = logging.getLogger(__name__)


@contextmanager
def unit_of_work() -> Iterator[None]:
    """Commit once when the block ends, roll back when it raises.

    A refusal whose class says `keeps_work` is committed and raised on. Raises DatabaseAway or ServiceBusy where
    PostgreSQL is away, too slow or at its limits; then nothing was kept, or, if the answer to COMMIT itself was lost,
    everything was: every operation is written so that repeating it converges.
    """
    with _translated():
        try:
            yield
        except Refusal as refusal:
            if refusal.keeps_work:
                _commit()
            raise
        else:
            _commit()
        finally:
            # Closing returns the connection and rolls back what was not committed. A request that never touched the
            # session does not have one, and is spared the making of it.
            if db.session.registry.has():
                db.session.remove()


@contextmanager
def reading() -> Iterator[Connection]:
    """A connection in autocommit: for reads that need no transaction, at half the price of one."""
    with _translated(), db.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection


def _commit() -> None:
    if db.session.registry.has():
        db.session.commit()


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
