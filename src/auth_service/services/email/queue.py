"""Mail queue: a mail worker claims outbox messages under a lease; they end as sent, expired or dead."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import (
    Integer,
    Interval,
    Text,
    and_,
    bindparam,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased

from auth_service import clock
from auth_service.adapters.crypto.keys import Sealer
from auth_service.db import Statement, Write, fetch_one, transaction
from auth_service.errors import DatabaseReadOnly
from auth_service.models import OutboxMessage
from auth_service.models.outbox_message import DEAD, EXPIRED, SENT, WAITING
from auth_service.services.email.statements import IS_WAITING, EndMessages, OneMessage, end_messages

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(seconds=60)

_free = or_(OutboxMessage.lease_until.is_(None), OutboxMessage.lease_until <= func.now())


class _EndOne(EndMessages, OneMessage):
    pass


class _EndOverdue(EndMessages):
    at_most: int


class _Claim(TypedDict):
    lease: timedelta
    at_most: int


class _OneClaim(OneMessage):
    """The claim of one worker, identified by `attempts`: a late worker must not change the lease of another one."""

    attempts: int


class _EndClaimed(EndMessages, _OneClaim):
    pass


class _Defer(_OneClaim):
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


def _claim() -> Any:
    # A replaced code must not arrive after the newer one, so the newer one waits while the older one is being sent. A
    # scalar subquery, and not EXISTS: PostgreSQL could turn that into a join that reads all waiting messages.
    older = aliased(OutboxMessage)
    older_being_sent = (
        select(older.code_number)
        .where(
            older.slot == OutboxMessage.slot,
            older.code_number < OutboxMessage.code_number,
            older.state == literal_column(f"'{WAITING}'"),
            older.lease_until > func.now(),
        )
        .limit(literal_column("1"))
        .scalar_subquery()
    )
    # PostgreSQL evaluates a CTE with a row lock once. It may evaluate a subquery repeatedly, and lock more rows.
    due = (
        select(OutboxMessage.id)
        .where(
            IS_WAITING,
            OutboxMessage.next_attempt_at <= func.now(),
            _free,
            OutboxMessage.not_after > func.now(),
            older_being_sent.is_(None),
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


_claimed = and_(
    OutboxMessage.id == bindparam("message_id", type_=OutboxMessage.id.type),
    OutboxMessage.attempts == bindparam("attempts"),
    IS_WAITING,
)


def _check() -> Any:
    newer = aliased(OutboxMessage)
    is_replaced = exists().where(newer.slot == OutboxMessage.slot, newer.code_number > OutboxMessage.code_number)
    read_only = func.current_setting(literal_column("'transaction_read_only'"))
    return select(is_replaced, read_only).where(_claimed)


class _Check(NamedTuple):
    is_replaced: bool
    read_only: str


_CLAIM = Statement(_claim(), parameters=_Claim, row=_Due)
_END_ONE = Write(
    end_messages(OutboxMessage.id == bindparam("message_id", type_=OutboxMessage.id.type)), parameters=_EndOne
)
_END_CLAIMED = Write(end_messages(_claimed), parameters=_EndClaimed)
_CHECK = Statement(_check(), parameters=_OneClaim, row=_Check)


def _end_overdue() -> Any:
    overdue = select(OutboxMessage.id).where(IS_WAITING, OutboxMessage.not_after <= func.now(), _free)
    overdue = overdue.order_by(OutboxMessage.not_after)  # along the index
    batch = overdue.limit(bindparam("at_most", type_=Integer)).with_for_update(skip_locked=True).cte("batch")
    return end_messages(OutboxMessage.id == batch.c.id).returning(literal_column("1"))


_END_OVERDUE = Statement(_end_overdue(), parameters=_EndOverdue, row=int, prepared=False)
_DEFER = Write(
    update(OutboxMessage)
    .where(_claimed)
    .values(
        next_attempt_at=func.now() + bindparam("pause", type_=Interval),
        lease_until=null(),
        trouble=bindparam("reason", type_=Text),
    ),
    parameters=_Defer,
)
_RELEASE = Write(
    update(OutboxMessage).where(_claimed).values(lease_until=null(), attempts=OutboxMessage.attempts - literal(1)),
    parameters=_OneClaim,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedMessage:
    """A message that a mail worker has claimed: no other worker sends it until the lease expires."""

    id: uuid.UUID
    kind: str
    recipient: str
    language: str
    payload: bytes
    attempts: int
    """How often the message was claimed, including this time. Identifies this claim of the message."""
    created_at: datetime
    begin_by: float
    """The latest time to begin sending, in seconds of the monotonic clock. After it the message may have expired, or
    the lease could expire while the message is sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MailQueue:
    """Claims messages for a mail worker and records their outcomes.

    No message is lost if a worker is killed: the lease expires, and another worker claims the message.
    """

    sealer: Sealer
    lease: timedelta
    longest_sending: timedelta
    """The time limit for sending one message; shorter than the lease."""

    def claim(self, *, at_most: int) -> list[ClaimedMessage]:
        """Claim messages that are due, oldest first: no other worker gets them until the lease expires."""
        asked_at = clock.monotonic()
        due = transaction().fetch_all(_CLAIM({"lease": self.lease, "at_most": at_most}))
        # Sending takes at most `longest_sending`. One half of the remaining lease is for waiting before it, the other
        # half for recording the outcome.
        longest_wait = (self.lease - self.longest_sending) / 2
        return [
            ClaimedMessage(
                id=message.id,
                kind=message.kind,
                recipient=message.recipient,
                language=message.language,
                payload=bytes(message.payload),
                attempts=message.attempts,
                created_at=message.created_at,
                begin_by=asked_at + min(longest_wait, message.ttl).total_seconds(),
            )
            for message in due
        ]

    def may_send(self, message: ClaimedMessage) -> bool:
        """Whether a claimed message is still to be sent: not withdrawn, and its code not replaced by a newer one.

        Raises DatabaseReadOnly, because the outcome could not be recorded and the message would be sent again.
        """
        check = fetch_one(_CHECK({"message_id": message.id, "attempts": message.attempts}))
        if check is not None and check.read_only == "on":
            raise DatabaseReadOnly(retry_after=1)
        return check is not None and not check.is_replaced

    def withdraw(self, message: ClaimedMessage) -> None:
        """Record that the message is not sent, and erase its payload; do nothing if the claim is lost."""
        transaction().write(
            _END_CLAIMED({"end": EXPIRED, "reason": None, "message_id": message.id, "attempts": message.attempts})
        )

    def open_payload(self, message: ClaimedMessage) -> dict[str, Any]:
        """Decrypt the values of the email template. Raises SealBroken if they were encrypted with another key."""
        return self.sealer.open(message.payload, place=message.id.bytes)

    def mark_sent(self, message: ClaimedMessage) -> None:
        """Record that the mail server accepted the message, and erase its payload."""
        transaction().write(_END_ONE({"end": SENT, "reason": None, "message_id": message.id}))

    def mark_dead(self, message: ClaimedMessage, *, reason: str) -> None:
        """Record that the message cannot be sent, and why; erase its payload."""
        transaction().write(_END_ONE({"end": DEAD, "reason": reason, "message_id": message.id}))

    def defer(self, message: ClaimedMessage, *, reason: str) -> None:
        """Release the claim and schedule a retry: exponential backoff, with jitter so that retries do not burst."""
        pause = min(FIRST_PAUSE * 2 ** (message.attempts - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
        transaction().write(
            _DEFER({"message_id": message.id, "attempts": message.attempts, "pause": pause, "reason": reason})
        )

    def release(self, messages: Sequence[ClaimedMessage]) -> None:
        """Release the claims of messages that the worker has not tried to send; they do not count as attempts."""
        for message in messages:
            transaction().write(_RELEASE({"message_id": message.id, "attempts": message.attempts}))

    def expire_due(self, *, at_most: int) -> int:
        """End up to `at_most` waiting messages whose time to live is over; return how many."""
        return len(transaction().fetch_all(_END_OVERDUE({"end": EXPIRED, "reason": None, "at_most": at_most})))
