"""Transactional outbox of emails: adds messages, counts the daily cap of codes, deletes old records."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from auth_service import clock
from auth_service.adapters.crypto.keys import Sealer
from auth_service.db import fetch_one, transaction
from auth_service.errors import TooManyCodes
from auth_service.models.outbox_message import EXPIRED, EmailKind
from auth_service.services.email.addresses import Address
from auth_service.services.email.statements import (
    BACKLOG,
    COUNT_CODES,
    DELETE_ENDED,
    DELETE_MESSAGE,
    END_ALL_OF_USER,
    END_OF_SLOT,
    INSERT_CODE,
    INSERT_ONCE,
    LAG,
    LOCK_ADDRESS,
    LOOK_UP_NO_USER,
    OLDEST_CODE,
    NewMessage,
)

DAY = timedelta(days=1)

UNLIMITED = 2**31 - 1
"""A daily cap that is never reached: the largest integer of PostgreSQL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The state of the outbox, for metrics and readiness."""

    waiting: int
    """Messages that wait, counted up to COUNTED."""
    oldest: timedelta
    """How long the oldest message that is due has waited."""
    dead: int
    """Messages that failed for good in the last 24 hours, counted up to COUNTED."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodePlace:
    """Where a code or a link is valid. One with a greater number in the same slot has replaced it."""

    slot: bytes
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbox:
    """Adds emails in the transaction of their cause; `MailQueue` hands them to mail workers."""

    sealer: Sealer
    codes_a_day: int
    """The daily cap: codes and invitations to one address in 24 hours."""

    def put_code(
        self,
        *,
        kind: EmailKind,
        to: Address,
        user_id: int | None,
        language: str,
        values: dict[str, Any],
        ttl: timedelta,
        place: CodePlace | None = None,
    ) -> bool:
        """Add an email with a code, if the daily cap allows it and the user exists; return whether it was added.

        For an unknown address (`user_id` is None) the email is added and deleted, without a cap: constant work,
        prevents user enumeration by timing. The cap is counted in PostgreSQL, because Redis may lose its data. It is
        exact: an advisory lock on the address serialises concurrent requests.

        `place` lets the mail worker withdraw the emails of codes that a newer code has replaced. This method does not
        withdraw them: only a known address can have such emails, so the duration would reveal the user.
        """
        message = self.message(
            kind=kind, to=to, user_id=user_id, language=language, values=values, ttl=ttl, place=place
        )
        codes_a_day = UNLIMITED if user_id is None else self.codes_a_day
        # A separate statement, so that the snapshot of the next one includes what others committed during the wait.
        self.lock_address(to)
        added = transaction().fetch_one(INSERT_CODE({**message, "codes_a_day": codes_a_day, "locked": user_id or 0}))
        if user_id is None:
            transaction().write(LOOK_UP_NO_USER({}))
            transaction().write(DELETE_MESSAGE({"message_id": message["id"]}))
        return added is not None

    def lock_address(self, to: Address) -> None:
        """Exclude other codes to this address until the unit of work ends.

        For a flow that locks the user and then calls `put_code`: all flows lock the address before the user.
        """
        transaction().write(LOCK_ADDRESS({"recipient_key": to.key}))

    def put_capped(self, message: NewMessage) -> bool:
        """Add an email without a code to an address, if the daily cap allows it; return whether it was added.

        For emails to people who have not asked for them. The cap is exact, as that of `put_code`.
        """
        transaction().write(LOCK_ADDRESS({"recipient_key": message["recipient_key"]}))
        added = transaction().fetch_one(INSERT_CODE({**message, "codes_a_day": self.codes_a_day, "locked": 0}))
        return added is not None

    def put(self, message: NewMessage) -> None:
        """Add an email without a code, unless one with the same `dedup_key` exists (idempotent)."""
        transaction().write(INSERT_ONCE(message))

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
        place: CodePlace | None = None,
    ) -> NewMessage:
        """Build a message, its content encrypted. Without a `dedup_key` it is never a duplicate."""
        message_id = uuid.uuid4()
        return {
            "id": message_id,
            "dedup_key": dedup_key or f"{kind}:{message_id}",
            "kind": kind,
            "user_id": user_id,
            "recipient": to.stored,
            "recipient_key": to.key,
            "language": language,
            "payload": self.sealer.seal(values, place=message_id.bytes),
            "ttl": ttl,
            "slot": place.slot if place else None,
            "code_number": place.number if place else None,
        }

    def is_full(self, to: Address) -> bool:
        """Whether the address has reached its daily cap. Not exact for concurrent requests, unlike `put_code`."""
        count = fetch_one(COUNT_CODES({"recipient_key": to.key}))
        return count is not None and count >= self.codes_a_day

    def daily_cap_error(self, to: Address) -> TooManyCodes:
        """Return the error of the daily cap, with the seconds until the oldest code is 24 hours old."""
        oldest_at = fetch_one(OLDEST_CODE({"recipient_key": to.key, "newer": self.codes_a_day - 1}))
        wait = DAY if oldest_at is None else oldest_at + DAY - clock.now()
        return TooManyCodes(retry_after=wait.total_seconds())

    def withdraw_all(self, *, user_id: int) -> None:
        """Withdraw all waiting emails to a user who is about to be deleted."""
        transaction().write(END_ALL_OF_USER({"end": EXPIRED, "reason": None, "owner": user_id}))

    def withdraw_code(self, slot: bytes) -> None:
        """Withdraw the waiting email of a code that was used, or of a link that has ended."""
        transaction().write(END_OF_SLOT({"end": EXPIRED, "reason": None, "slot": slot}))

    def delete_ended(self, *, older_than: timedelta, at_most: int) -> int:
        """Delete up to `at_most` messages that ended longer than `older_than` ago; return how many.

        Messages of the last day stay, because the daily cap is counted from them.
        """
        return len(transaction().fetch_all(DELETE_ENDED({"older_than": older_than, "at_most": at_most})))

    def lag(self) -> timedelta:
        """Return how long the oldest message that is due has waited. The cost does not grow with the table."""
        return fetch_one(LAG({})) or timedelta()

    def backlog(self) -> Backlog:
        """Count waiting and dead messages, each up to `COUNTED`, and measure the lag."""
        counted = fetch_one(BACKLOG({}))
        waiting, dead = counted or (0, 0)
        return Backlog(waiting=waiting, oldest=self.lag(), dead=dead)
