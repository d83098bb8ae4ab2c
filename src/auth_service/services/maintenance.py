"""Maintenance: what keeps the database in order, in small steps, safe to run at any time and to be killed in any."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, Engine, Executable, Interval, bindparam, func, select, text
from sqlalchemy.exc import OperationalError

from auth_service.adapters.postgres.connections import maintenance_engine
from auth_service.db import unit_of_work
from auth_service.db.advisory_locks import Lock
from auth_service.services.email.outbox import Outbox
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.sessions.revocation import forget_ended
from auth_service.services.users.users import Users

log = logging.getLogger(__name__)

BATCH = 500
"""Rows that one statement deletes, with whatever goes with them; well within its budget, however large the table is."""

FIRST_PAUSE = timedelta(milliseconds=100)
LONGEST_PAUSE = timedelta(seconds=5)
LOCKED = "55P03"

_LOCK = select(func.pg_try_advisory_xact_lock(Lock.MAINTENANCE.value))
_MAKE_MONTH = select(func.events_make_month())
_DROP_MONTH = select(func.events_drop_month(bindparam("older_than", type_=Interval)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How long records are kept."""

    temporary_users: timedelta
    emails: timedelta
    ended_sessions: timedelta
    audit_events: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceReport:
    """What one run has done."""

    temporary_users: int
    emails: int
    ended_sessions: int
    revert_links: int
    months_created: list[str]
    months_dropped: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Maintenance:
    """Removes what was kept long enough, and keeps months of the history ready."""

    users: Users
    account_revert: AccountRevert
    outbox: Outbox
    database_url: str = field(repr=False)
    retention: Retention

    def run(self, *, stopped: Callable[[], bool] = lambda: False) -> MaintenanceReport | None:
        """Do all that is due; None if somebody else is doing it right now.

        Each step is a transaction of its own, so that a run that is killed, or `stopped` between two of them, has done
        less and harmed nothing. Raises DatabaseUnavailable and ServiceBusy, and SQLAlchemy's OperationalError where a
        lock on the history could not be had.
        """
        with maintenance_engine(self.database_url) as engine, _alone(engine) as allowed:
            if not allowed:
                return None

            def all_of(forget: Callable[[], int]) -> int:
                return _in_batches(forget, stopped)

            kept = self.retention
            return MaintenanceReport(
                # First, because nothing else here is waited for.
                months_created=_months(engine, _MAKE_MONTH, stopped),
                temporary_users=all_of(
                    lambda: self.users.delete_stale_temporary_users(older_than=kept.temporary_users, at_most=BATCH)
                ),
                emails=all_of(lambda: self.outbox.forget_ended(older_than=kept.emails, at_most=BATCH)),
                ended_sessions=all_of(lambda: forget_ended(older_than=kept.ended_sessions, at_most=BATCH)),
                revert_links=all_of(lambda: self.account_revert.forget_expired(at_most=BATCH)),
                months_dropped=_months(engine, _DROP_MONTH, stopped, older_than=kept.audit_events),
            )


@contextmanager
def _alone(engine: Engine) -> Iterator[bool]:
    """Whether nobody else is at it; then nobody else will be, until this ends or dies."""
    with engine.begin() as connection:
        # Of a transaction and not of a session, which a pooler might hand on with the lock. It waits idle meanwhile and
        # holds nothing else: no row, and no snapshot that would keep vacuum from its work.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield bool(connection.execute(_LOCK).scalar_one())


def _in_batches(forget: Callable[[], int], stopped: Callable[[], bool]) -> int:
    """Delete until there is nothing left to delete; returns how many rows there were."""
    total = 0
    while not stopped():
        with unit_of_work():
            gone = forget()
        total += gone
        if gone < BATCH:
            break
    return total


def _months(engine: Engine, statement: Executable, stopped: Callable[[], bool], **given: timedelta) -> list[str]:
    """Make or drop one month after the other, each in a transaction of its own; returns their tables."""
    done: list[str] = []
    while not stopped():
        with engine.connect() as connection:
            month = _patiently(connection, statement, given)
        if month is None:
            break
        done.append(month)
    return done


def _patiently(connection: Connection, statement: Executable, given: dict[str, timedelta]) -> str | None:
    """Try again where somebody else holds a lock: whoever waits for one for long makes everybody behind it wait."""
    pause = FIRST_PAUSE
    while True:
        try:
            with connection.begin():
                # Moving what was written before there was a month for it may take longer than a request may.
                connection.execute(text("SET LOCAL statement_timeout = '10min'"))
                month: str | None = connection.execute(statement, given).scalar_one()
                return month
        except OperationalError as error:
            if pause > LONGEST_PAUSE or getattr(error.orig, "pgcode", None) != LOCKED:
                raise
        log.info("the history is locked; trying again in %s s", pause.total_seconds())
        time.sleep(pause.total_seconds())
        pause *= 2
