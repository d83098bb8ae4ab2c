"""Leases: a mailer takes letters for a while, and they end as sent, expired or dead."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select, tuple_, update

from auth_service import clock
from auth_service.adapters.crypto import Sealer
from auth_service.models import Letter, Prepared, writing, written_at_once
from auth_service.models.letter import DEAD, EXPIRED, SENT, WAITING
from auth_service.services.outbox import ending

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(seconds=60)

_free = or_(Letter.lease_until.is_(None), Letter.lease_until <= func.now())

_END_ONE = Prepared(ending(Letter.id == bindparam("letter")))
_END_OVERDUE = ending(and_(Letter.not_after <= func.now(), _free))


@dataclass(frozen=True, kw_only=True, slots=True)
class LeasedLetter:
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
class Leases:
    """Letters in the hands of a mailer. Killed anywhere it loses none: the lease runs out, and another one takes it."""

    sealer: Sealer
    lease: timedelta
    longest_sending: timedelta
    """What sending one letter may take; shorter than the lease."""

    def take(self, *, at_most: int) -> list[LeasedLetter]:
        """Take letters that are due, the oldest first; nobody else gets them until the lease runs out."""
        # A common table expression with a row lock is evaluated once; a subquery might be more often, and lock more.
        due = (
            select(Letter.id)
            .where(Letter.state == WAITING, Letter.next_attempt_at <= func.now(), _free, Letter.not_after > func.now())
            .order_by(Letter.next_attempt_at)
            .limit(at_most)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        asked_at = clock.monotonic()
        rows = writing().execute(
            update(Letter)
            .where(Letter.id == due.c.id)
            .values(lease_until=func.now() + self.lease, attempts=Letter.attempts + 1)
            .returning(
                Letter.id,
                Letter.kind,
                Letter.recipient,
                Letter.language,
                Letter.payload,
                Letter.attempts,
                Letter.created_at,
                (Letter.not_after - func.now()).label("lives"),
            )
        )
        # Half of what the lease leaves is for waiting for a hand, the other half for noting what became of the letter.
        waits = (self.lease - self.longest_sending) / 2
        leased = [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it
        return [
            LeasedLetter(begin_by=asked_at + min(waits, letter.pop("lives")).total_seconds(), **letter)
            for letter in leased
        ]

    def opened(self, letter: LeasedLetter) -> dict[str, Any]:
        """The content of a leased letter. Raises SealBroken when it was sealed with another key."""
        return self.sealer.open(letter.payload, place=letter.id.bytes)

    def mark_sent(self, letter: LeasedLetter) -> None:
        """The server took it: wipe what it said."""
        written_at_once((_END_ONE, {"end": SENT, "reason": None, "letter": letter.id}))

    def mark_dead(self, letter: LeasedLetter, *, trouble: str) -> None:
        """It will never be taken: wipe what it said, keep why."""
        written_at_once((_END_ONE, {"end": DEAD, "reason": trouble, "letter": letter.id}))

    def put_off(self, letter: LeasedLetter, *, trouble: str) -> None:
        """Try again after a pause that doubles, with jitter so that a crowd of letters does not come back at once."""
        pause = min(FIRST_PAUSE * 2 ** (letter.attempts - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
        self._change(_held([letter]), next_attempt_at=func.now() + pause, lease_until=None, trouble=trouble)

    def release(self, letters: Sequence[LeasedLetter]) -> None:
        """Give back letters that were leased and not tried."""
        self._change(_held(letters), lease_until=None, attempts=Letter.attempts - 1)

    def expire_due(self) -> None:
        """End the letters whose content is worth nothing any more."""
        writing().execute(_END_OVERDUE, {"end": EXPIRED, "reason": None})

    def _change(self, which: Any, **values: Any) -> None:
        writing().execute(update(Letter).where(which, Letter.state == WAITING).values(**values))


def _held(letters: Sequence[LeasedLetter]) -> Any:
    """Those whose lease is still the one we took: whoever is late must not end the lease of somebody else."""
    return tuple_(Letter.id, Letter.attempts).in_([(letter.id, letter.attempts) for letter in letters])
