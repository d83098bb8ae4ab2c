"""Leases: a mailer takes letters for a while, and they end as sent, expired or dead."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Integer, Interval, Text, and_, bindparam, func, literal, null, or_, select, update

from auth_service import clock
from auth_service.adapters.crypto.keys import Sealer
from auth_service.db import Statement, Write, transaction
from auth_service.models import OutboxMessage
from auth_service.models.outbox_message import DEAD, EXPIRED, SENT, WAITING
from auth_service.services.email.statements import EndLetters, OneLetter, ending

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(seconds=60)

_free = or_(OutboxMessage.lease_until.is_(None), OutboxMessage.lease_until <= func.now())


class _EndOne(EndLetters, OneLetter):
    pass


class _Take(TypedDict):
    lease: timedelta
    at_most: int


class _Held(OneLetter):
    """One lease of a letter: a worker that is late must not change the lease of another one."""

    attempts: int


class _PutOff(_Held):
    pause: timedelta
    reason: str


class _Due(NamedTuple):
    id: uuid.UUID
    kind: str
    recipient: str
    language: str
    payload: memoryview
    attempts: int
    created_at: datetime
    ttl: timedelta


def _take() -> Any:
    # A common table expression with a row lock is evaluated once; a subquery might be more often, and lock more.
    due = (
        select(OutboxMessage.id)
        .where(
            OutboxMessage.state == WAITING,
            OutboxMessage.next_attempt_at <= func.now(),
            _free,
            OutboxMessage.not_after > func.now(),
        )
        .order_by(OutboxMessage.next_attempt_at)
        .limit(bindparam("at_most", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(OutboxMessage)
        .where(OutboxMessage.id == due.c.id)
        .values(
            lease_until=func.now() + bindparam("lease", type_=Interval), attempts=OutboxMessage.attempts + literal(1)
        )
        .returning(
            OutboxMessage.id,
            OutboxMessage.kind,
            OutboxMessage.recipient,
            OutboxMessage.language,
            OutboxMessage.payload,
            OutboxMessage.attempts,
            OutboxMessage.created_at,
            (OutboxMessage.not_after - func.now()).label("ttl"),
        )
    )


_held = and_(
    OutboxMessage.id == bindparam("letter", type_=OutboxMessage.id.type),
    OutboxMessage.attempts == bindparam("attempts"),
    OutboxMessage.state == WAITING,
)
_TAKE = Statement(_take(), parameters=_Take, row=_Due)
_END_ONE = Write(ending(OutboxMessage.id == bindparam("letter", type_=OutboxMessage.id.type)), parameters=_EndOne)
_END_OVERDUE = Write(ending(and_(OutboxMessage.not_after <= func.now(), _free)), parameters=EndLetters)
_PUT_OFF = Write(
    update(OutboxMessage)
    .where(_held)
    .values(
        next_attempt_at=func.now() + bindparam("pause", type_=Interval),
        lease_until=null(),
        trouble=bindparam("reason", type_=Text),
    ),
    parameters=_PutOff,
)
_RELEASE = Write(
    update(OutboxMessage).where(_held).values(lease_until=null(), attempts=OutboxMessage.attempts - literal(1)),
    parameters=_Held,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedMessage:
    """A letter that is ours to send until the lease runs out."""

    id: uuid.UUID
    kind: str
    recipient: str
    language: str
    payload: bytes
    attempts: int
    """How often it was leased, this time included; tells this lease from the ones before and after it."""
    created_at: datetime
    begin_by: float
    """Until when sending may begin, in monotonic seconds; later, the lease could end meanwhile, or the code has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MailQueue:
    """Letters in the hands of a mailer. Killed anywhere it loses none: the lease runs out, and another one takes it."""

    sealer: Sealer
    lease: timedelta
    longest_sending: timedelta
    """What sending one letter may take; shorter than the lease."""

    def claim(self, *, at_most: int) -> list[ClaimedMessage]:
        """Take letters that are due, the oldest first; nobody else gets them until the lease runs out."""
        asked_at = clock.monotonic()
        due = transaction().fetch_all(_TAKE({"lease": self.lease, "at_most": at_most}))
        # Half of what the lease leaves is for waiting for a hand, the other half for noting what became of the letter.
        waits = (self.lease - self.longest_sending) / 2
        return [
            ClaimedMessage(
                id=letter.id,
                kind=letter.kind,
                recipient=letter.recipient,
                language=letter.language,
                payload=bytes(letter.payload),
                attempts=letter.attempts,
                created_at=letter.created_at,
                begin_by=asked_at + min(waits, letter.ttl).total_seconds(),
            )
            for letter in due
        ]

    def open_payload(self, letter: ClaimedMessage) -> dict[str, Any]:
        """The content of a leased letter. Raises SealBroken when it was sealed with another key."""
        return self.sealer.open(letter.payload, place=letter.id.bytes)

    def mark_sent(self, letter: ClaimedMessage) -> None:
        """The server took it: wipe what it said."""
        transaction().write(_END_ONE({"end": SENT, "reason": None, "letter": letter.id}))

    def mark_dead(self, letter: ClaimedMessage, *, trouble: str) -> None:
        """It will never be taken: wipe what it said, keep why."""
        transaction().write(_END_ONE({"end": DEAD, "reason": trouble, "letter": letter.id}))

    def defer(self, letter: ClaimedMessage, *, trouble: str) -> None:
        """Try again after a pause that doubles, with jitter so that a crowd of letters does not come back at once."""
        pause = min(FIRST_PAUSE * 2 ** (letter.attempts - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
        transaction().write(
            _PUT_OFF({"letter": letter.id, "attempts": letter.attempts, "pause": pause, "reason": trouble})
        )

    def release(self, letters: Sequence[ClaimedMessage]) -> None:
        """Give back letters that were leased and not tried."""
        for letter in letters:
            transaction().write(_RELEASE({"letter": letter.id, "attempts": letter.attempts}))

    def expire_due(self) -> None:
        """End the letters whose content is worth nothing any more."""
        transaction().write(_END_OVERDUE({"end": EXPIRED, "reason": None}))
