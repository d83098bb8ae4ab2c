"""The outbox: letters are written with their cause, leased by a mailer, and end as sent, expired or dead."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, Interval, Text, and_, bindparam, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip
from sqlalchemy.exc import IntegrityError

from auth_service import clock
from auth_service.adapters.crypto import Sealer
from auth_service.errors import TooManyCodes
from auth_service.models import Letter, Prepared, User, read_at_once, reading, writing, written_at_once
from auth_service.models.letter import DEAD, EXPIRED, SENT, WAITING
from auth_service.models.prepared import Step
from auth_service.services.addresses import Address

DAY = timedelta(days=1)
FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(seconds=60)

NO_SUCH_USER = "23503"
"""PostgreSQL's code for a foreign key that leads nowhere."""

_free = or_(Letter.lease_until.is_(None), Letter.lease_until <= func.now())

# Statements that requests run are made once: making one, and the key under which its SQL is cached, costs as much as
# running it.

_LOCK = Prepared(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("recipient_key", type_=Text), 0))))


def codes_of_a_day(recipient_key: Any) -> Any:
    """How many codes were written to an address in the last 24 hours."""
    return (
        select(func.count())
        .where(
            Letter.recipient_key == recipient_key,
            Letter.kind.like("%\\_code"),
            Letter.created_at > func.now() - DAY,
        )
        .scalar_subquery()
    )


_COUNT = Prepared(select(codes_of_a_day(bindparam("recipient_key", type_=Text))))

_given = ("id", "dedup_key", "kind", "user_id", "recipient", "recipient_key", "language", "payload")
_WRITE = Prepared(
    insert(Letter)
    .from_select(
        [*_given, "not_after"],
        select(
            *(bindparam(name, type_=Letter.__table__.c[name].type) for name in _given),
            func.now() + bindparam("lives", type_=Interval),
        ).where(codes_of_a_day(bindparam("recipient_key")) < bindparam("codes_a_day", type_=Integer)),
        include_defaults=False,  # those of the table are meant
    )
    .returning(Letter.id)
)
# What a letter to nobody costs besides: its user is looked for, as PostgreSQL does where there is one, and it goes.
_NO_USER = Prepared(select(User.id).where(User.id == 0).with_for_update(read=True, key_share=True))
_TAKE_BACK = Prepared(delete(Letter).where(Letter.id == bindparam("letter")))


def _ending(which: Any) -> Any:
    """Waiting letters end: what they said is wiped, and why they ended is kept."""
    return (
        update(Letter)
        .where(which, Letter.state == WAITING)
        .values(
            state=bindparam("end"), payload=None, ended_at=func.now(), lease_until=None, trouble=bindparam("reason")
        )
    )


_END_ONE = Prepared(_ending(Letter.id == bindparam("letter")))
_END_ALL_OF_USER = _ending(Letter.user_id == bindparam("owner"))
_END_OVERDUE = _ending(and_(Letter.not_after <= func.now(), _free))


def withdrawal(*, user_id: Any, kind: Any) -> Any:
    """Waiting letters of a kind end because their content is worth nothing any more: to be part of what made it so."""
    return (
        update(Letter)
        .where(Letter.user_id == user_id, Letter.kind == kind, Letter.state == WAITING)
        .values(state=EXPIRED, payload=None, ended_at=func.now(), lease_until=None, trouble=None)
    )


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
class Backlog:
    """How the outbox stands."""

    waiting: int
    oldest: timedelta
    dead: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbox:
    """Letters, from their cause to their end."""

    sealer: Sealer
    lease: timedelta
    longest_sending: timedelta
    """What sending one letter may take; shorter than the lease."""
    codes_a_day: int

    def put_code(
        self,
        *,
        kind: str,
        to: Address,
        user_id: int | None,
        language: str,
        values: dict[str, Any],
        lives: timedelta,
        more_follows: bool = False,
    ) -> bool:
        """Write a letter with a code, in the unit of work of its cause, unless that is beyond the daily cap.

        Returns whether it was written. For nobody (`user_id` is None) it is and is taken back, whatever the cap: that
        takes as long. The cap is counted here, so that it outlives Redis, and exactly, also when many ask at once:
        whoever writes to an address waits for the others who do. `more_follows` says that the unit of work goes on to
        write other things.
        """
        identity = uuid.uuid4()
        letter = {
            "id": identity,
            "dedup_key": f"{kind}:{identity}",
            "kind": kind,
            "user_id": user_id,
            "recipient": to.stored,
            "recipient_key": to.key,
            "language": language,
            "payload": self.sealer.seal(values, place=identity.bytes),
            "lives": lives,
            "codes_a_day": 2**31 - 1 if user_id is None else self.codes_a_day,
        }
        nobodys: list[Step] = [] if user_id is not None else [(_NO_USER, {}), (_TAKE_BACK, {"letter": identity})]
        try:
            # Statements of their own, so that the second sees what was written while the first waited.
            steps: list[Step] = [(_LOCK, {"recipient_key": to.key}), (_WRITE, letter), *nobodys]
            return written_at_once(*steps, more_follows=more_follows) is not None
        except IntegrityError as broken:
            if getattr(broken.orig, "pgcode", None) != NO_SUCH_USER:
                raise
            # The user was deleted at this moment, so there is nobody to write to. What goes on needs a transaction that
            # has not failed.
            if more_follows:
                writing().rollback()
            return False

    def put(
        self,
        *,
        kind: str,
        dedup_key: str,
        to: Address,
        user_id: int | None,
        language: str,
        values: dict[str, Any],
        lives: timedelta,
    ) -> None:
        """Write a letter without a code, in the unit of work of its cause; the same cause twice is one letter."""
        identity = uuid.uuid4()
        writing().execute(
            insert_or_skip(Letter)
            .values(
                id=identity,
                dedup_key=dedup_key,
                kind=kind,
                user_id=user_id,
                recipient=to.stored,
                recipient_key=to.key,
                language=language,
                payload=self.sealer.seal(values, place=identity.bytes),
                not_after=func.now() + lives,
            )
            .on_conflict_do_nothing(index_elements=[Letter.dedup_key])
        )

    def is_full(self, to: Address) -> bool:
        """Whether the address has had all codes of the last 24 hours. Not exact under concurrency; `put_code` is."""
        counted = read_at_once(_COUNT, recipient_key=to.key)
        return counted is not None and counted[0] >= self.codes_a_day

    def refusal(self, to: Address) -> TooManyCodes:
        """The refusal of the daily cap, with the time at which the oldest code leaves the window."""
        newest_first = (
            select(Letter.created_at)
            .where(Letter.recipient_key == to.key, Letter.created_at > func.now() - DAY)
            .order_by(Letter.created_at.desc())
            .offset(self.codes_a_day - 1)
            .limit(1)
            .scalar_subquery()
        )
        with reading() as connection:
            counted_from: datetime | None = connection.execute(select(newest_first)).scalar_one()
        wait = DAY if counted_from is None else counted_from + DAY - clock.now()
        return TooManyCodes(retry_after=wait.total_seconds())

    def withdraw_all(self, *, user_id: int) -> None:
        """End every waiting letter to somebody who is about to be deleted."""
        writing().execute(_END_ALL_OF_USER, {"end": EXPIRED, "reason": None, "owner": user_id})

    def lease_due(self, *, at_most: int) -> list[LeasedLetter]:
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

    def forget_ended(self, *, older_than: timedelta, at_most: int) -> int:
        """Delete some records of letters that ended long ago; returns how many.

        Never those of the last day, which the daily cap is counted from.
        """
        old = select(Letter.id).where(Letter.state != WAITING, Letter.ended_at < func.now() - max(older_than, DAY))
        some = old.limit(at_most).with_for_update(skip_locked=True).cte("some")
        return _count_of(writing().execute(delete(Letter).where(Letter.id == some.c.id)))

    def backlog(self) -> Backlog:
        """How many letters wait, and how long the oldest that is due has waited."""
        counts = select(
            func.count().filter(Letter.state == WAITING),
            func.min(Letter.next_attempt_at).filter(Letter.state == WAITING, Letter.not_after > func.now()),
            func.count().filter(Letter.state == DEAD, Letter.ended_at > func.now() - DAY),
        ).where(or_(Letter.state == WAITING, Letter.ended_at > func.now() - DAY))
        with reading() as connection:
            waiting, first_due, dead = connection.execute(counts).one()
        due_since: datetime | None = first_due
        oldest = timedelta() if due_since is None else max(clock.now() - due_since, timedelta())
        return Backlog(waiting=waiting, oldest=oldest, dead=dead)

    def _change(self, which: Any, **values: Any) -> None:
        writing().execute(update(Letter).where(which, Letter.state == WAITING).values(**values))


def _held(letters: Sequence[LeasedLetter]) -> Any:
    """Those whose lease is still the one we took: whoever is late must not end the lease of somebody else."""
    return tuple_(Letter.id, Letter.attempts).in_([(letter.id, letter.attempts) for letter in letters])


def _count_of(result: Any) -> int:
    return int(result.rowcount)
