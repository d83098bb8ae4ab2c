"""Database maintenance: deletes records after their retention, creates and drops partitions of the audit log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, Engine, Executable, Interval, bindparam, func, select, text
from sqlalchemy.exc import InternalError, OperationalError

from auth_service.adapters.postgres.connections import maintenance_engine
from auth_service.db import unit_of_work
from auth_service.db.advisory_locks import Lock
from auth_service.db.prepared import READ_ONLY
from auth_service.errors import DatabaseReadOnly
from auth_service.services.audit.seals import AuditSealing
from auth_service.services.email.outbox import Outbox
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.flows.invitations.invitations import Invitations
from auth_service.services.idempotency import delete_expired_keys
from auth_service.services.sessions.revocation import delete_ended_sessions
from auth_service.services.users.users import Users

log = logging.getLogger(__name__)

BATCH = 500
"""Rows that one statement deletes (more with cascades): few enough for its time limit, however large the table is."""

FIRST_PAUSE = timedelta(milliseconds=100)
LONGEST_PAUSE = timedelta(seconds=5)
LOCK_NOT_AVAILABLE = "55P03"
"""SQLSTATE of a statement that waited longer than `lock_timeout`."""

_LOCK = select(func.pg_try_advisory_xact_lock(Lock.MAINTENANCE.value))
_CREATE_PARTITION = select(func.events_make_month())
_DROP_PARTITION = select(func.events_drop_month(bindparam("older_than", type_=Interval)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """Retention periods: how long records stay in the database."""

    temporary_users: timedelta
    """Since their creation."""
    emails: timedelta
    """Of outbox messages, since they were sent, expired or refused."""
    ended_sessions: timedelta
    """Since they were revoked or expired."""
    ended_invitations: timedelta
    """Since they were accepted or revoked or expired."""
    audit_events: timedelta
    """Dropped by whole months."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceReport:
    """What one run of the maintenance did: the numbers of deleted rows, and the tables that it created and dropped."""

    temporary_users: int
    emails: int
    ended_sessions: int
    revert_links: int
    invitations: int
    idempotency_keys: int
    months_created: list[str]
    months_dropped: list[str]
    hours_sealed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Maintenance:
    """Deletes records whose retention has ended, creates partitions of the audit log, and seals its hours."""

    users: Users
    account_revert: AccountRevert
    invitations: Invitations
    outbox: Outbox
    audit_sealing: AuditSealing
    database_url: str = field(repr=False)
    retention: Retention

    def run(self, *, stopped: Callable[[], bool] = lambda: False) -> MaintenanceReport | None:
        """Run all tasks that are due; return None if another process is running the maintenance.

        Each step is a transaction of its own. A run can be killed at any time, or be `stopped` between two steps: the
        next run does the rest. Raises DatabaseUnavailable, DatabaseReadOnly and ServiceBusy, and SQLAlchemy's
        OperationalError where the audit log stays locked.
        """
        with maintenance_engine(self.database_url) as engine, _exclusive(engine) as acquired:
            if not acquired:
                return None

            def delete_all(delete_batch: Callable[[], int]) -> int:
                return _in_batches(delete_batch, stopped)

            retention = self.retention
            return MaintenanceReport(
                # First: audit events need the partition of the next month, while late deletions do no harm.
                months_created=_for_each_month(engine, _CREATE_PARTITION, stopped),
                temporary_users=delete_all(
                    lambda: self.users.delete_stale_temporary_users(older_than=retention.temporary_users, at_most=BATCH)
                ),
                emails=delete_all(lambda: self.outbox.delete_ended(older_than=retention.emails, at_most=BATCH)),
                ended_sessions=delete_all(
                    lambda: delete_ended_sessions(older_than=retention.ended_sessions, at_most=BATCH)
                ),
                revert_links=delete_all(lambda: self.account_revert.delete_expired(at_most=BATCH)),
                invitations=delete_all(
                    lambda: self.invitations.delete_ended(older_than=retention.ended_invitations, at_most=BATCH)
                ),
                idempotency_keys=delete_all(lambda: delete_expired_keys(at_most=BATCH)),
                months_dropped=_for_each_month(engine, _DROP_PARTITION, stopped, older_than=retention.audit_events),
                hours_sealed=self.audit_sealing.seal(stopped=stopped),
            )


@contextmanager
def _exclusive(engine: Engine) -> Iterator[bool]:
    """Try to take the advisory lock of the maintenance until the block ends; yield whether it was free."""
    with engine.begin() as connection:
        # A lock of a transaction, because a pooler may hand a session with its locks to another client. This
        # transaction stays idle meanwhile. It locks no row, and has no snapshot that would keep vacuum from its work.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield bool(connection.execute(_LOCK).scalar_one())


def _in_batches(delete_batch: Callable[[], int], stopped: Callable[[], bool]) -> int:
    """Delete batches, each in a transaction of its own, until one is not full; return the number of deleted rows."""
    total = 0
    while not stopped():
        with unit_of_work():
            deleted = delete_batch()
        total += deleted
        if deleted < BATCH:
            break
    return total


def _for_each_month(
    engine: Engine, statement: Executable, stopped: Callable[[], bool], **parameters: timedelta
) -> list[str]:
    """Create or drop partitions, each in a transaction of its own, until none is left; return their names."""
    tables: list[str] = []
    while not stopped():
        with engine.connect() as connection:
            table = _retry_while_locked(connection, statement, parameters)
        if table is None:
            break
        tables.append(table)
    return tables


def _retry_while_locked(connection: Connection, statement: Executable, parameters: dict[str, timedelta]) -> str | None:
    """Create or drop a partition, with retries while another transaction holds a lock; return its name, if any.

    Short waits with pauses between them: while a statement waits for an exclusive lock on a table, PostgreSQL queues
    all later statements on that table behind it.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            with connection.begin():
                # Events that were written before their partition existed are moved into it, which may take longer than
                # the time limit of a request.
                connection.execute(text("SET LOCAL statement_timeout = '10min'"))
                table: str | None = connection.execute(statement, parameters).scalar_one()
                return table
        except InternalError as error:
            if getattr(error.orig, "pgcode", None) == READ_ONLY:
                raise DatabaseReadOnly(retry_after=1) from error
            raise
        except OperationalError as error:
            if pause > LONGEST_PAUSE or getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
        log.info("the audit log is locked; trying again in %s s", pause.total_seconds())
        time.sleep(pause.total_seconds())
        pause *= 2
