"""SQL statements of the email outbox (table `letters`), with their typed parameters and rows."""

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
    case,
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
from auth_service.models.outbox_message import CAPPED_KINDS, CODE_KINDS, DEAD, EXPIRED, WAITING

DAY = timedelta(days=1)


# A literal, not a parameter: otherwise a prepared statement could not use the partial indexes of this state.
IS_WAITING = OutboxMessage.state == literal_column(f"'{WAITING}'")


def _instant(value: datetime) -> datetime:
    return value


def _duration(value: timedelta) -> timedelta:
    return value


# Statements that requests run are built at import, because building one takes about as long as running it.


class ToAddress(TypedDict):
    """Parameters of a statement about the emails to one address."""

    recipient_key: str


class NewMessage(TypedDict):
    """Parameters of a new outbox message; `payload` is encrypted."""

    id: uuid.UUID
    dedup_key: str
    kind: str
    user_id: int | None
    recipient: str
    recipient_key: str
    language: str
    payload: bytes
    ttl: timedelta
    """How long the message may still be sent."""
    slot: bytes | None
    code_number: int | None


class NewCode(NewMessage):
    """Parameters of a new outbox message with a code, and of the daily cap of its address."""

    codes_a_day: int
    locked: int
    """The user to lock against concurrent deletion; 0 for an unknown address."""


class OneMessage(TypedDict):
    """Parameters of a statement about one message."""

    message_id: uuid.UUID


class OldestCode(ToAddress):
    """Parameters of the search for the email whose age decides when the next code is allowed."""

    newer: int
    """How many newer emails to skip."""


class OfUser(TypedDict):
    """Parameters of a statement about the emails to one user."""

    owner: int


class Old(TypedDict):
    """Parameters of the deletion of old records."""

    older_than: timedelta
    at_most: int


LOCK_ADDRESS = Write(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("recipient_key", type_=Text), 0))),
    parameters=ToAddress,
)


def _counts_for_cap(recipient_key: Any) -> Any:
    """Build the condition of the daily cap of an address: codes and invitations of the last 24 hours."""
    return and_(
        OutboxMessage.recipient_key == recipient_key,
        # Not `IN`: SQLAlchemy expands its list at each execution, which a prepared statement bypasses.
        or_(*(OutboxMessage.kind == kind.value for kind in CAPPED_KINDS)),
        OutboxMessage.created_at > func.now() - DAY,
    )


def codes_of_a_day(recipient_key: Any) -> Any:
    """Build the number of codes to an address in the last 24 hours, as a scalar subquery."""
    return select(func.count()).where(_counts_for_cap(recipient_key)).scalar_subquery()


COUNT_CODES = Statement(select(codes_of_a_day(bindparam("recipient_key", type_=Text))), parameters=ToAddress, row=int)

_columns = {
    name: bindparam(name, type_=OutboxMessage.__table__.c[name].type)
    for name in (
        "id", "dedup_key", "kind", "user_id", "recipient", "recipient_key", "language", "payload", "slot",
        "code_number",
    )
}  # fmt: skip
_message = _columns | {"not_after": func.now() + bindparam("ttl", type_=Interval)}
# The lock keeps the user from being deleted concurrently, which would violate the foreign key and fail the transaction.
# A deleted user gets no email. For an unknown address (0) the same look-up runs and finds no user: constant work,
# prevents user enumeration by timing.
_locked = (
    select(User.id).where(User.id == bindparam("locked")).with_for_update(read=True, key_share=True).cte("locked_user")
)
_unknown_or_exists = (bindparam("locked") == 0) == (select(func.count()).select_from(_locked).scalar_subquery() == 0)
INSERT_CODE = Statement(
    insert(OutboxMessage)
    .from_select(
        list(_message),
        select(*_message.values()).where(
            _unknown_or_exists,
            codes_of_a_day(bindparam("recipient_key", type_=Text)) < bindparam("codes_a_day", type_=Integer),
        ),
        include_defaults=False,  # the server defaults of the table apply
    )
    .returning(OutboxMessage.id),
    parameters=NewCode,
    row=str,
)
INSERT_ONCE = Write(
    insert_or_skip(OutboxMessage)
    .from_select(list(_message), select(*_message.values()), include_defaults=False)
    .on_conflict_do_nothing(index_elements=[OutboxMessage.dedup_key]),
    parameters=NewMessage,
)
# Constant work for unknown addresses: this query takes the place of the foreign key check for an existing user, and
# DELETE_MESSAGE deletes the message. Prevents user enumeration by timing.
LOOK_UP_NO_USER = Write(
    select(User.id).where(User.id == literal_column("0")).with_for_update(read=True, key_share=True),
    parameters=NoParameters,
)
DELETE_MESSAGE = Write(delete(OutboxMessage).where(OutboxMessage.id == bindparam("message_id")), parameters=OneMessage)


def insert_once_cte(to: CTE) -> CTE:
    """Build the part of a statement that adds a message to the user whose `id` is in `to`, once for a `dedup_key`.

    It returns the `user_id` if the message was added. The statement takes the parameters of `NewMessage`, with a
    `user_id` only if `to` uses that parameter.
    """
    message = _message | {"user_id": to.c.id}
    return (
        insert_or_skip(OutboxMessage)
        .from_select(list(message), select(*message.values()), include_defaults=False)
        .on_conflict_do_nothing(index_elements=[OutboxMessage.dedup_key])
        .returning(OutboxMessage.user_id)
        .cte("message")
    )


def end_messages(condition: Any) -> Any:
    """Build the statement that ends waiting messages: it erases their payload and sets state and reason.

    The statement takes the parameters of `EndMessages`.
    """
    return (
        update(OutboxMessage)
        .where(condition, IS_WAITING)
        .values(
            state=bindparam("end"), payload=None, ended_at=func.now(), lease_until=None, trouble=bindparam("reason")
        )
    )


class EndMessages(TypedDict):
    """Parameters of the end of messages."""

    end: str
    """The new state: sent, expired or dead."""
    reason: str | None
    """Why the message was not sent."""


class EndMessagesOfUser(EndMessages, OfUser):
    """Parameters of the end of all messages to one user."""


class EndMessagesOfSlot(EndMessages):
    """Parameters of the end of the messages with the codes of one ticket or session."""

    slot: bytes


END_OF_SLOT = Write(
    end_messages(OutboxMessage.slot == bindparam("slot", type_=OutboxMessage.slot.type)), parameters=EndMessagesOfSlot
)
END_CODES_OF_USER = Write(
    end_messages(
        and_(
            OutboxMessage.user_id == bindparam("owner"), or_(*(OutboxMessage.kind == kind.value for kind in CODE_KINDS))
        )
    ),
    parameters=EndMessagesOfUser,
)
END_ALL_OF_USER = Write(end_messages(OutboxMessage.user_id == bindparam("owner")), parameters=EndMessagesOfUser)
OLDEST_CODE = Statement(
    select(OutboxMessage.created_at)
    .where(_counts_for_cap(bindparam("recipient_key", type_=Text)))
    .order_by(OutboxMessage.created_at.desc())
    .offset(bindparam("newer", type_=Integer))
    .limit(literal_column("1")),
    parameters=OldestCode,
    row=_instant,
)


def _delete_ended() -> Any:
    long_ago = func.now() - func.greatest(bindparam("older_than", type_=Interval), literal(DAY))
    # Ordered, so that PostgreSQL reads the index and not the table until it has found a batch.
    old = (
        select(OutboxMessage.id)
        .where(OutboxMessage.state != WAITING, OutboxMessage.ended_at < long_ago)
        .order_by(OutboxMessage.ended_at)
    )
    batch = old.limit(bindparam("at_most", type_=Integer)).with_for_update(skip_locked=True).cte("batch")
    return delete(OutboxMessage).where(OutboxMessage.id == batch.c.id).returning(literal_column("1"))


DELETE_ENDED = Statement(_delete_ended(), parameters=Old, row=int, prepared=False)


def withdraw_cte(*, user_id: Any, kind: Any) -> Any:
    """Build the part of a statement that withdraws waiting messages of a kind that another part makes obsolete."""
    return (
        update(OutboxMessage)
        .where(OutboxMessage.user_id == user_id, OutboxMessage.kind == kind, IS_WAITING)
        .values(state=EXPIRED, payload=None, ended_at=func.now(), lease_until=None, trouble=None)
    )


COUNTED = 5_000
"""Up to how many messages a metric counts: the cost of a metric must not grow with the table."""

OLDEST = 100
"""How many of the oldest messages a metric or readiness check reads to find one that has not expired."""


def _lag() -> Any:
    """Build the time for which the oldest message that is due and not expired has waited.

    A mail worker ends expired messages within seconds. If all of the OLDEST messages have expired,
    no mail worker runs, and the newest of them counts.
    """
    oldest = (
        select(OutboxMessage.next_attempt_at, OutboxMessage.not_after)
        .where(IS_WAITING)
        .order_by(OutboxMessage.next_attempt_at)
        .limit(literal_column(str(OLDEST)))
        .subquery()
    )
    all_expired = case((func.count() == literal_column(str(OLDEST)), func.max(oldest.c.next_attempt_at)))
    due = func.coalesce(func.min(oldest.c.next_attempt_at).filter(oldest.c.not_after > func.now()), all_expired)
    return select(func.greatest(func.now() - due, literal_column("interval '0'", type_=Interval)))


def _counted(condition: Any, *, along: Any) -> Any:
    """Build the number of messages that meet a condition, up to COUNTED, as a scalar subquery.

    Ordered by the column of an index, so that PostgreSQL reads the index and not the table until it has found so many.
    """
    some = select(literal_column("1")).where(condition).order_by(along).limit(literal_column(str(COUNTED))).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


def _backlog_counts(waiting: int, dead: int) -> tuple[int, int]:
    return waiting, dead


LAG = Statement(_lag(), parameters=NoParameters, row=_duration)
_is_dead = OutboxMessage.state == literal_column(f"'{DEAD}'")
BACKLOG = Statement(
    select(
        _counted(IS_WAITING, along=OutboxMessage.next_attempt_at),
        _counted(and_(_is_dead, OutboxMessage.ended_at > func.now() - DAY), along=OutboxMessage.ended_at),
    ),
    parameters=NoParameters,
    row=_backlog_counts,
)
