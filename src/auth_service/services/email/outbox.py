"""The outbox: letters are written with their cause, counted, and forgotten when they have ended long ago."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    func,
    or_,
    select,
)

from auth_service import clock
from auth_service.adapters.crypto.keys import Sealer
from auth_service.db import autocommit, fetch_one, transaction
from auth_service.errors import TooManyCodes
from auth_service.models import OutboxMessage
from auth_service.models.outbox_message import DEAD, EXPIRED, WAITING, EmailKind
from auth_service.services.email.addresses import Address
from auth_service.services.email.statements import (
    COUNT,
    DELETE_ENDED,
    END_ALL_OF_USER,
    LOCK,
    NO_USER,
    OLDEST_COUNTED,
    REMOVE,
    WRITE,
    WRITE_ONCE,
    NewMessage,
)

DAY = timedelta(days=1)


def _instant(value: datetime) -> datetime:
    return value


UNLIMITED = 2**31 - 1
"""A daily cap that nobody reaches: the most that PostgreSQL takes for an integer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """How the outbox stands."""

    waiting: int
    oldest: timedelta
    dead: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbox:
    """Writes letters in the transaction of their cause; what becomes of them is in `leases`."""

    sealer: Sealer
    codes_a_day: int

    def put_code(
        self,
        *,
        kind: EmailKind,
        to: Address,
        user_id: int | None,
        language: str,
        values: dict[str, Any],
        ttl: timedelta,
    ) -> bool:
        """Write an email with a code, unless that is beyond the daily cap or the user is being deleted.

        Returns whether it was written. For an unknown address (`user_id` is None) it is written and removed, whatever
        the cap: constant work. The cap is counted here, so that it outlives Redis, and exactly, also for concurrent
        requests: an advisory lock of the address orders them.
        """
        letter = self.message(kind=kind, to=to, user_id=user_id, language=language, values=values, ttl=ttl)
        codes_a_day = UNLIMITED if user_id is None else self.codes_a_day
        # A statement of its own, so that the next one sees what was written while this one waited.
        transaction().write(LOCK({"recipient_key": to.key}))
        written = transaction().fetch_one(WRITE({**letter, "codes_a_day": codes_a_day, "held": user_id or 0}))
        if user_id is None:
            transaction().write(NO_USER({}))
            transaction().write(REMOVE({"letter": letter["id"]}))
        return written is not None

    def put(self, letter: NewMessage) -> None:
        """Write an email without a code; the same cause twice is one email."""
        transaction().write(WRITE_ONCE(letter))

    def message(
        self,
        *,
        kind: str,
        to: Address,
        user_id: int | None,
        language: str,
        values: dict[str, Any],
        ttl: timedelta,
        dedup_key: str | None = None,
    ) -> NewMessage:
        """A letter as it is written, its content sealed. Without a `dedup_key` its cause is like no other."""
        identity = uuid.uuid4()
        return {
            "id": identity,
            "dedup_key": dedup_key or f"{kind}:{identity}",
            "kind": kind,
            "user_id": user_id,
            "recipient": to.stored,
            "recipient_key": to.key,
            "language": language,
            "payload": self.sealer.seal(values, place=identity.bytes),
            "ttl": ttl,
        }

    def is_full(self, to: Address) -> bool:
        """Whether the address has had all codes of the last 24 hours. Not exact under concurrency; `put_code` is."""
        counted = fetch_one(COUNT({"recipient_key": to.key}))
        return counted is not None and counted >= self.codes_a_day

    def refusal(self, to: Address) -> TooManyCodes:
        """The refusal of the daily cap, with the time at which the oldest code leaves the window."""
        counted_from = fetch_one(OLDEST_COUNTED({"recipient_key": to.key, "newer": self.codes_a_day - 1}))
        wait = DAY if counted_from is None else counted_from + DAY - clock.now()
        return TooManyCodes(retry_after=wait.total_seconds())

    def withdraw_all(self, *, user_id: int) -> None:
        """End every waiting letter to somebody who is about to be deleted."""
        transaction().write(END_ALL_OF_USER({"end": EXPIRED, "reason": None, "owner": user_id}))

    def forget_ended(self, *, older_than: timedelta, at_most: int) -> int:
        """Delete some records of letters that ended long ago; returns how many.

        Never those of the last day, which the daily cap is counted from.
        """
        return len(transaction().fetch_all(DELETE_ENDED({"older_than": older_than, "at_most": at_most})))

    def backlog(self) -> Backlog:
        """How many letters wait, and how long the oldest that is due has waited."""
        counts = select(
            func.count().filter(OutboxMessage.state == WAITING),
            func.min(OutboxMessage.next_attempt_at).filter(
                OutboxMessage.state == WAITING, OutboxMessage.not_after > func.now()
            ),
            func.count().filter(OutboxMessage.state == DEAD, OutboxMessage.ended_at > func.now() - DAY),
        ).where(or_(OutboxMessage.state == WAITING, OutboxMessage.ended_at > func.now() - DAY))
        with autocommit() as connection:
            waiting, first_due, dead = connection.execute(counts).one()
        due_since: datetime | None = first_due
        oldest = timedelta() if due_since is None else max(clock.now() - due_since, timedelta())
        return Backlog(waiting=waiting, oldest=oldest, dead=dead)
