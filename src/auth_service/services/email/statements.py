"""SQL statements about the outbox of emails, with their typed parameters and rows."""

import uuid
from datetime import datetime, timedelta
from typing import Any, TypedDict

from sqlalchemy import (
    CTE,
    Integer,
    Interval,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from auth_service.db import NoParameters, Statement, Write
from auth_service.models import OutboxMessage, User
from auth_service.models.outbox_message import CODE_KINDS, EXPIRED, WAITING

DAY = timedelta(days=1)


def _instant(value: datetime) -> datetime:
    return value


UNLIMITED = 2**31 - 1
"""A daily cap that nobody reaches: the most that PostgreSQL takes for an integer."""

# Statements that requests run are built at import: building one costs about as much as running it.


class ToAddress(TypedDict):
    """Parameters of a statement about the emails to one address."""

    recipient_key: str


class NewMessage(TypedDict):
    """Parameters of a new email, sealed."""

    id: uuid.UUID
    dedup_key: str
    kind: str
    user_id: int | None
    recipient: str
    recipient_key: str
    language: str
    payload: bytes
    ttl: timedelta


class NewCode(NewMessage):
    """Parameters of a new email with a code, and of its daily cap."""

    codes_a_day: int
    held: int


class OneLetter(TypedDict):
    """Parameters of a statement about one email."""

    letter: uuid.UUID


class OldestCounted(ToAddress):
    """Parameters of the search for the oldest email that counts for the daily cap."""

    newer: int


class OfUser(TypedDict):
    """Parameters of a statement about the emails to one user."""

    owner: int


class Old(TypedDict):
    """Parameters of the removal of old records."""

    older_than: timedelta
    at_most: int


LOCK = Write(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("recipient_key", type_=Text), 0))),
    parameters=ToAddress,
)


def _counts(recipient_key: Any) -> Any:
    """Which emails to an address count for its daily cap: those of the last 24 hours that carry a code."""
    return and_(
        OutboxMessage.recipient_key == recipient_key,
        # Not `IN`: SQLAlchemy expands its list at each execution, and prepared statements have no such step.
        or_(*(OutboxMessage.kind == kind.value for kind in CODE_KINDS)),
        OutboxMessage.created_at > func.now() - DAY,
    )


def codes_of_a_day(recipient_key: Any) -> Any:
    """How many codes were written to an address in the last 24 hours."""
    return select(func.count()).where(_counts(recipient_key)).scalar_subquery()


COUNT = Statement(select(codes_of_a_day(bindparam("recipient_key", type_=Text))), parameters=ToAddress, row=int)

_given = {
    name: bindparam(name, type_=OutboxMessage.__table__.c[name].type)
    for name in ("id", "dedup_key", "kind", "user_id", "recipient", "recipient_key", "language", "payload")
}
_letter = _given | {"not_after": func.now() + bindparam("ttl", type_=Interval)}
# The user must not be deleted meanwhile, or the foreign key would fail the whole transaction; a deleted user gets no
# email. For an unknown address (0) the same is looked up, and not found: constant work.
_owner = select(User.id).where(User.id == bindparam("held")).with_for_update(read=True, key_share=True).cte("owner")
_unknown_or_there = (bindparam("held") == 0) == (select(func.count()).select_from(_owner).scalar_subquery() == 0)
WRITE = Statement(
    insert(OutboxMessage)
    .from_select(
        list(_letter),
        select(*_letter.values()).where(
            _unknown_or_there,
            codes_of_a_day(bindparam("recipient_key", type_=Text)) < bindparam("codes_a_day", type_=Integer),
        ),
        include_defaults=False,  # those of the table are meant
    )
    .returning(OutboxMessage.id),
    parameters=NewCode,
    row=str,
)
WRITE_ONCE = Write(
    insert_or_skip(OutboxMessage)
    .from_select(list(_letter), select(*_letter.values()), include_defaults=False)
    .on_conflict_do_nothing(index_elements=[OutboxMessage.dedup_key]),
    parameters=NewMessage,
)
# What an email to an unknown address costs besides: its user is looked for once more, as the foreign key does it for a
# user, and it is removed.
NO_USER = Write(
    select(User.id).where(User.id == literal_column("0")).with_for_update(read=True, key_share=True),
    parameters=NoParameters,
)
REMOVE = Write(delete(OutboxMessage).where(OutboxMessage.id == bindparam("letter")), parameters=OneLetter)


def insert_once_cte(to: CTE) -> CTE:
    """A part of a statement: a letter to the user whose `id` is in `to`, unless there was one with this cause.

    Its parameters are those of `NewMessage` but the `user_id`; it returns the `user_id`.
    """
    letter = _letter | {"user_id": to.c.id}
    return (
        insert_or_skip(OutboxMessage)
        .from_select(list(letter), select(*letter.values()), include_defaults=False)
        .on_conflict_do_nothing(index_elements=[OutboxMessage.dedup_key])
        .returning(OutboxMessage.user_id)
        .cte("letter")
    )


def ending(which: Any) -> Any:
    """Waiting letters end: what they said is wiped, and why they ended is kept (parameters `end` and `reason`)."""
    return (
        update(OutboxMessage)
        .where(which, OutboxMessage.state == WAITING)
        .values(
            state=bindparam("end"), payload=None, ended_at=func.now(), lease_until=None, trouble=bindparam("reason")
        )
    )


class EndLetters(TypedDict):
    """Parameters of the end of emails: the state, and why."""

    end: str
    reason: str | None


class EndLettersOfUser(EndLetters, OfUser):
    """Parameters of the end of the emails to one user."""


END_ALL_OF_USER = Write(ending(OutboxMessage.user_id == bindparam("owner")), parameters=EndLettersOfUser)
OLDEST_COUNTED = Statement(
    select(OutboxMessage.created_at)
    .where(_counts(bindparam("recipient_key", type_=Text)))
    .order_by(OutboxMessage.created_at.desc())
    .offset(bindparam("newer", type_=Integer))
    .limit(literal_column("1")),
    parameters=OldestCounted,
    row=_instant,
)


def _delete_ended() -> Any:
    long_ago = func.now() - func.greatest(bindparam("older_than", type_=Interval), literal(DAY))
    old = select(OutboxMessage.id).where(OutboxMessage.state != WAITING, OutboxMessage.ended_at < long_ago)
    some = old.limit(bindparam("at_most", type_=Integer)).with_for_update(skip_locked=True).cte("some")
    return delete(OutboxMessage).where(OutboxMessage.id == some.c.id).returning(literal_column("1"))


DELETE_ENDED = Statement(_delete_ended(), parameters=Old, row=int, prepared=False)


def withdraw_cte(*, user_id: Any, kind: Any) -> Any:
    """Waiting letters of a kind end because their content is worth nothing any more: to be part of what made it so."""
    return (
        update(OutboxMessage)
        .where(OutboxMessage.user_id == user_id, OutboxMessage.kind == kind, OutboxMessage.state == WAITING)
        .values(state=EXPIRED, payload=None, ended_at=func.now(), lease_until=None, trouble=None)
    )
