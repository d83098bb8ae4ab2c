"""Audit sealing: signs each hour of the audit log, and finds the first hour that was changed afterwards."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from sqlalchemy import Connection, DateTime, Row, and_, bindparam, case, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from auth_service.adapters.crypto import audit_seals
from auth_service.adapters.crypto.access_tokens import KeySet
from auth_service.adapters.crypto.audit_seals import SealedHour, SealRejected, TrustedKeys
from auth_service.adapters.postgres.connections import maintenance_engine
from auth_service.db import Write, transaction, unit_of_work
from auth_service.models import AuditSeal, Event, ForgottenEvent

HOUR = timedelta(hours=1)
SETTLED = timedelta(minutes=5)
"""After this time no transaction adds an event of the hour any more: the database ends longer ones."""
OVERDUE = timedelta(hours=3)
"""The age of the newest seal that reveals that no mail worker seals, or that seals were removed."""
BATCH = 10_000
"""Digests that are in memory at one time."""


class _NewSeal(TypedDict):
    hour: datetime
    rows: int
    digest: bytes
    seal: str


_ADD = Write(
    insert(AuditSeal)
    .values({name: bindparam(name, type_=AuditSeal.__table__.c[name].type) for name in _NewSeal.__annotations__})
    .on_conflict_do_nothing(),
    parameters=_NewSeal,
)

# A row that hides behind the digest of a forgotten event has to look like one: without IP address, device, request id.
_looks_forgotten = and_(Event.address.is_(None), Event.device == literal_column("''"), Event.request_id.is_(None))
_digest = case(
    (and_(ForgottenEvent.digest.is_not(None), _looks_forgotten), ForgottenEvent.digest),
    else_=func.audit_event_digest(literal_column("events")),
)
_time = DateTime(timezone=True)
_DIGESTS = (
    select(_digest.label("digest"))
    .select_from(Event)
    .outerjoin(ForgottenEvent, ForgottenEvent.event_id == Event.id)
    .where(Event.at >= bindparam("begin", type_=_time), Event.at < bindparam("end", type_=_time))
    .order_by(Event.at, Event.id)
)
_NEWEST = select(AuditSeal.hour, AuditSeal.digest).order_by(AuditSeal.hour.desc()).limit(1)
_OLDEST_EVENT = select(func.min(Event.at))
_ALL = select(AuditSeal.hour, AuditSeal.rows, AuditSeal.digest, AuditSeal.seal).order_by(AuditSeal.hour)


class AuditSealBroken(Exception):
    """An hour does not match its seal. The text says what is wrong."""

    def __init__(self, hour: datetime, reason: str) -> None:
        super().__init__(f"{hour.astimezone(UTC):%Y-%m-%dT%H:%MZ}: {reason}")
        self.hour = hour


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedLog:
    """The extent of an audit log that matches its seals."""

    hours: int
    events: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditSealing:
    """Seals the audit log hour by hour, and verifies it.

    The digest of an hour includes that of the hour before, so that a seal proves all hours before it, too.
    """

    signing_keys: Callable[[], KeySet]
    """Returns the current signing keys."""
    issuer: str
    database_url: str = field(repr=False)

    def seal(self, *, stopped: Callable[[], bool] = lambda: False) -> int:
        """Seal all hours that are complete and have no seal yet; return how many. The first one has the oldest event.

        Each hour is a transaction of its own. Raises DatabaseUnavailable, ServiceBusy, KeysSealed.
        """
        sealed = 0
        with maintenance_engine(self.database_url) as engine, engine.connect() as connection:
            for hour, previous in self._unsealed_hours(connection):
                if stopped():
                    break
                rows, digest = _digest_of(connection, hour, previous=previous)
                value = SealedHour(hour=hour, rows=rows, digest=digest, previous=previous)
                seal = audit_seals.sign(value, self.signing_keys(), issuer=self.issuer)
                with unit_of_work():
                    transaction().write(_ADD({"hour": hour, "rows": rows, "digest": digest, "seal": seal}))
                sealed += 1
        return sealed

    def verify(self, *, trusted: TrustedKeys | None) -> VerifiedLog:
        """Verify all seals and the events of their hours, with keys that were kept outside if `trusted` is not None.

        Raises AuditSealBroken for the first hour that does not match.
        """
        hours = events = 0
        previous: bytes | None = None
        with maintenance_engine(self.database_url) as engine, engine.connect() as connection:
            seals = connection.execute(_ALL).all()
            now: datetime = connection.execute(select(func.now())).scalar_one()
            oldest: datetime | None = connection.execute(_OLDEST_EVENT).scalar_one()
            # Seals may begin before the oldest event, which was removed then; but not after it.
            expected = _hour_of(min(filter(None, [oldest, seals[0].hour if seals else None]), default=now))
            for row in seals:
                if row.hour != expected:
                    raise AuditSealBroken(expected, "the hour has no seal")
                rows, previous = _verify(connection, row, previous=previous, trusted=trusted)
                hours, events, expected = hours + 1, events + rows, row.hour + HOUR
        if now - expected > OVERDUE:
            raise AuditSealBroken(
                expected, "the hour has no seal; no mail worker runs, or the newest seals were removed"
            )
        return VerifiedLog(hours=hours, events=events)

    @staticmethod
    def _unsealed_hours(connection: Connection) -> Iterator[tuple[datetime, bytes]]:
        """Yield each hour to be sealed with the digest of the hour before, which is read again for each of them."""
        while True:
            newest = connection.execute(_NEWEST).one_or_none()
            now: datetime = connection.execute(select(func.now())).scalar_one()
            begin = newest.hour + HOUR if newest is not None else connection.execute(_OLDEST_EVENT).scalar_one()
            connection.rollback()
            if begin is None:
                return
            begin = _hour_of(begin)
            if begin + HOUR + SETTLED > now:
                return
            yield begin, b"" if newest is None else bytes(newest.digest)


def _hour_of(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _verify(
    connection: Connection, row: Row[datetime, int, bytes, str], *, previous: bytes | None, trusted: TrustedKeys | None
) -> tuple[int, bytes]:
    """Verify a seal and the events of its hour; return their number and the digest. Raises AuditSealBroken."""
    stated = _stated(row.seal, row.hour, trusted)
    if (stated.hour, stated.rows, stated.digest) != (row.hour, row.rows, bytes(row.digest)):
        raise AuditSealBroken(row.hour, "the seal states other values than its row")
    if previous is not None and stated.previous != previous:
        raise AuditSealBroken(row.hour, "the seal does not continue the one before")
    rows, digest = _digest_of(connection, row.hour, previous=stated.previous)
    if rows != row.rows:
        raise AuditSealBroken(row.hour, f"the hour has {rows} events, and had {row.rows} when it was sealed")
    if digest != stated.digest:
        raise AuditSealBroken(row.hour, "an event was changed after the hour was sealed")
    return rows, digest


def _stated(seal: str, hour: datetime, trusted: TrustedKeys | None) -> SealedHour:
    try:
        return audit_seals.verify(seal, trusted=trusted)
    except SealRejected as rejected:
        raise AuditSealBroken(hour, f"the seal is rejected: {rejected}") from None


def _digest_of(connection: Connection, hour: datetime, *, previous: bytes) -> tuple[int, bytes]:
    """Return how many events an hour has, and the SHA-256 of the previous digest and of theirs."""
    rows, digest = 0, hashlib.sha256(previous)
    streamed = {"stream_results": True, "yield_per": BATCH}
    for row in connection.execute(_DIGESTS, {"begin": hour, "end": hour + HOUR}, execution_options=streamed):
        digest.update(bytes(row.digest))
        rows += 1
    connection.rollback()
    return rows, digest.digest()
