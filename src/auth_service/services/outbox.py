"""The outbox: letters are written with their cause, counted, and forgotten when they have ended long ago."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CTE, Integer, Interval, Text, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip
from sqlalchemy.exc import IntegrityError

from auth_service import clock
from auth_service.adapters.crypto import Sealer
from auth_service.errors import TooManyCodes
from auth_service.models import Letter, Prepared, User, read_at_once, reading, writing, written_at_once
from auth_service.models.letter import CODE_KINDS, DEAD, EXPIRED, WAITING, EmailKind
from auth_service.models.prepared import Step, Values
from auth_service.services.addresses import Address

DAY = timedelta(days=1)

UNLIMITED = 2**31 - 1
"""A daily cap that nobody reaches: the most that PostgreSQL takes for an integer."""

NO_SUCH_USER = "23503"
"""PostgreSQL's code for a foreign key that leads nowhere."""

# Statements that requests run are built at import: building one costs about as much as running it.

_LOCK = Prepared(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("recipient_key", type_=Text), 0))))


def _counts(recipient_key: Any) -> Any:
    """Which emails to an address count for its daily cap: those of the last 24 hours that carry a code."""
    return and_(
        Letter.recipient_key == recipient_key,
        # Not `IN`: SQLAlchemy expands its list at each execution, and prepared statements have no such step.
        or_(*(Letter.kind == kind.value for kind in CODE_KINDS)),
        Letter.created_at > func.now() - DAY,
    )


def codes_of_a_day(recipient_key: Any) -> Any:
    """How many codes were written to an address in the last 24 hours."""
    return select(func.count()).where(_counts(recipient_key)).scalar_subquery()


_COUNT = Prepared(select(codes_of_a_day(bindparam("recipient_key", type_=Text))))

_given = {
    name: bindparam(name, type_=Letter.__table__.c[name].type)
    for name in ("id", "dedup_key", "kind", "user_id", "recipient", "recipient_key", "language", "payload")
}
_letter = _given | {"not_after": func.now() + bindparam("lives", type_=Interval)}
_WRITE = Prepared(
    insert(Letter)
    .from_select(
        list(_letter),
        select(*_letter.values()).where(
            codes_of_a_day(bindparam("recipient_key")) < bindparam("codes_a_day", type_=Integer)
        ),
        include_defaults=False,  # those of the table are meant
    )
    .returning(Letter.id)
)
_WRITE_ONCE = insert_or_skip(Letter).values(_letter).on_conflict_do_nothing(index_elements=[Letter.dedup_key])
# What a letter to nobody costs besides: its user is looked for, as PostgreSQL does where there is one, and it goes.
_NO_USER = Prepared(select(User.id).where(User.id == 0).with_for_update(read=True, key_share=True))
_TAKE_BACK = Prepared(delete(Letter).where(Letter.id == bindparam("letter")))


def written_once(to: CTE) -> CTE:
    """A part of a statement: a letter to the user whose `id` is in `to`, unless there was one with this cause.

    Its parameters are those of `Outbox.letter`; it returns the `user_id`.
    """
    letter = _letter | {"user_id": to.c.id}
    return (
        insert_or_skip(Letter)
        .from_select(list(letter), select(*letter.values()), include_defaults=False)
        .on_conflict_do_nothing(index_elements=[Letter.dedup_key])
        .returning(Letter.user_id)
        .cte("letter")
    )


def ending(which: Any) -> Any:
    """Waiting letters end: what they said is wiped, and why they ended is kept (parameters `end` and `reason`)."""
    return (
        update(Letter)
        .where(which, Letter.state == WAITING)
        .values(
            state=bindparam("end"), payload=None, ended_at=func.now(), lease_until=None, trouble=bindparam("reason")
        )
    )


_END_ALL_OF_USER = ending(Letter.user_id == bindparam("owner"))


def withdrawal(*, user_id: Any, kind: Any) -> Any:
    """Waiting letters of a kind end because their content is worth nothing any more: to be part of what made it so."""
    return (
        update(Letter)
        .where(Letter.user_id == user_id, Letter.kind == kind, Letter.state == WAITING)
        .values(state=EXPIRED, payload=None, ended_at=func.now(), lease_until=None, trouble=None)
    )


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
        lives: timedelta,
        more_follows: bool = False,
    ) -> bool:
        """Write a letter with a code, in the unit of work of its cause, unless that is beyond the daily cap.

        Returns whether it was written. For nobody (`user_id` is None) it is and is taken back, whatever the cap: that
        takes as long. The cap is counted here, so that it outlives Redis, and exactly, also when many ask at once:
        whoever writes to an address waits for the others who do. `more_follows` says that the unit of work goes on to
        write other things.
        """
        letter = self.letter(kind=kind, to=to, user_id=user_id, language=language, values=values, lives=lives)
        letter["codes_a_day"] = UNLIMITED if user_id is None else self.codes_a_day
        nobodys: list[Step] = [] if user_id is not None else [(_NO_USER, {}), (_TAKE_BACK, {"letter": letter["id"]})]
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

    def put(self, letter: Values) -> None:
        """Write a letter without a code, in the unit of work of its cause; the same cause twice is one letter."""
        writing().execute(_WRITE_ONCE, letter)

    def letter(
        self,
        *,
        kind: str,
        to: Address,
        user_id: int | None,
        language: str,
        values: dict[str, Any],
        lives: timedelta,
        dedup_key: str | None = None,
    ) -> dict[str, Any]:
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
            "lives": lives,
        }

    def is_full(self, to: Address) -> bool:
        """Whether the address has had all codes of the last 24 hours. Not exact under concurrency; `put_code` is."""
        counted = read_at_once(_COUNT, recipient_key=to.key)
        return counted is not None and counted[0] >= self.codes_a_day

    def refusal(self, to: Address) -> TooManyCodes:
        """The refusal of the daily cap, with the time at which the oldest code leaves the window."""
        newest_first = (
            select(Letter.created_at)
            .where(_counts(to.key))
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


def _count_of(result: Any) -> int:
    return int(result.rowcount)
