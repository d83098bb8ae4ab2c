"""SQL statements of the audit log, with their typed parameters."""

import uuid
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    FromClause,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from auth_service.db import Write
from auth_service.models import Event, FailureSlot, User
from auth_service.models.audit_event import SUCCESS, EventType
from auth_service.services.caller import Caller

# Statements are built at import, because building one takes about as long as running it.


class DeviceParameters(TypedDict):
    """Parameters with the IP address and the device of the request."""

    seen_address: str | None
    seen_device: str


class ClientParameters(DeviceParameters):
    """The same, and the id of the request, as audit events have them."""

    request_id: str | None


class NewEvent(ClientParameters):
    """Parameters of an audit event."""

    kind: str
    outcome: str
    user_id: int | None
    session_id: uuid.UUID | None
    details: str
    """A JSON object."""


class ActorAndTarget(TypedDict):
    """Parameters with an actor other than the user of the event, and a target other than this user."""

    actor_type: str | None
    actor_id: str | None
    target_type: str | None
    target_id: str | None


class EventOfActor(NewEvent, ActorAndTarget):
    """Parameters of an audit event that may have another actor than its user, or another target."""


class NewFailure(EventOfActor):
    """Parameters of an event about a failed attempt of a signed-in client, and of the daily cap of failures."""

    user: int
    """The user whose failures count for the cap, and who is locked against concurrent deletion."""
    since: datetime
    until: datetime
    cap: int


class NewAnonymousFailure(NewEvent):
    """Parameters of an event about a failed attempt of an anonymous client, and of the slot that takes its place."""

    is_recorded: bool
    slot: int
    number: int
    filling: str


class EventsOfSessions(ClientParameters):
    """Parameters of the events about sessions that one statement revokes or changes."""

    kind: str
    outcome: str
    details: str
    actor_type: str | None
    actor_id: str | None


class AnonymizeUser(TypedDict):
    """Parameters of the anonymisation of the events of a user."""

    user: int


def _parameter(name: str, column: str | None = None) -> Any:
    return bindparam(name, type_=Event.__table__.c[column or name].type)


ANONYMOUS_FAILURES = (EventType.SIGN_IN_REFUSED, EventType.RECOVERY_REFUSED)
"""Failures of unauthenticated requests, whose time must not reveal whether the address has an account."""

_details = cast(bindparam("details", type_=Text), JSONB)
_about_session: dict[str, Any] = {
    "kind": _parameter("kind"),
    "outcome": _parameter("outcome"),
    "address": _parameter("seen_address", "address"),
    "device": _parameter("seen_device", "device"),
    "request_id": _parameter("request_id"),
    "details": _details,
}
_event = _about_session | {"user_id": _parameter("user_id"), "session_id": _parameter("session_id")}
_actor_and_target = {name: _parameter(name) for name in ("actor_type", "actor_id", "target_type", "target_id")}
INSERT_EVENT = Write(insert(Event).values(_event | _actor_and_target), parameters=EventOfActor)

# Counts along an index, and not beyond the cap. The time range is passed as values instead of now(), so that the
# planner skips the partitions of other months. Failures of anonymous clients have a cap of their own: an attacker who
# knows only the address must not keep the failures of a stolen session out of the audit log.
_failures = (
    select(literal_column("1"))
    .where(
        func.coalesce(Event.user_id, literal_column("0")) == bindparam("user"),
        Event.outcome == literal_column("'failure'"),
        *(Event.kind != kind.value for kind in ANONYMOUS_FAILURES),
        Event.at > bindparam("since"),
        Event.at < bindparam("until"),
    )
    .limit(bindparam("cap", type_=Integer))
    .subquery()
)
_below_cap = select(func.count()).select_from(_failures).scalar_subquery() < bindparam("cap", type_=Integer)
# The lock keeps the user from being deleted concurrently: an event that is recorded after the deletion would keep the
# id of the user. For a user who is already deleted nothing is recorded.
_locked = (
    select(User.id).where(User.id == bindparam("user")).with_for_update(read=True, key_share=True).cte("locked_user")
)
_exists = select(func.count()).select_from(_locked).scalar_subquery() > 0
INSERT_FAILURE = Write(
    insert(Event).from_select(
        [*_event, *_actor_and_target],
        select(*_event.values(), *_actor_and_target.values()).where(_below_cap, _exists),
        include_defaults=False,
    ),
    parameters=NewFailure,
)

# Constant work for known and unknown addresses, below and beyond the cap: an event is added, or a slot is overwritten,
# which writes one row and as many index entries (timing side channel). Nothing is read, so that the time does not grow
# with the number of failures before, and no user is locked: the wait for a lock that another transaction holds would
# reveal that the user exists. Redis has counted the attempt, because that costs the same for every number.
_is_recorded = bindparam("is_recorded", type_=Boolean)
_slot: dict[str, Any] = {
    "slot": bindparam("slot", type_=Integer),
    "changed_at": func.now(),
    "number": bindparam("number", type_=BigInteger),
    "filling": bindparam("filling", type_=Text),
}
_overwritten = insert_or_update(FailureSlot).from_select(
    list(_slot), select(*_slot.values()).where(~_is_recorded), include_defaults=False
)
_overwritten = _overwritten.on_conflict_do_update(
    index_elements=[FailureSlot.slot],
    set_={name: _overwritten.excluded[name] for name in ("changed_at", "number", "filling")},
)
_recorded = insert(Event).from_select(
    list(_event), select(*_event.values()).where(_is_recorded), include_defaults=False
)
INSERT_ANONYMOUS_FAILURE = Write(
    select(literal_column("1")).add_cte(_recorded.cte("recorded"), _overwritten.cte("overwritten")),
    parameters=NewAnonymousFailure,
)

IS_OWN = or_(
    Event.actor_type.is_(None),
    and_(Event.actor_type == literal_column("'user'"), Event.actor_id == cast(Event.user_id, Text)),
)
"""Whether the user of an event is also its actor."""

# What others do to a user is shown without their identity: an IP address or a device would reveal who they are.
FOR_USER = {
    "by": case(
        (IS_OWN, None),
        (Event.actor_type == literal_column("'user'"), literal_column("'administrator'")),
        else_=Event.actor_type,
    ).label("by"),
    "device": case((IS_OWN, Event.device), else_=literal_column("''")).label("device"),
    "address": case((IS_OWN, func.host(Event.address))).label("address"),
}
"""Columns of an event as the user of the event sees them; `by` is null for what the user did."""

PAGE = (
    select(
        Event.id,
        Event.at,
        Event.kind,
        Event.outcome,
        Event.details["method"].astext.label("method"),
        *FOR_USER.values(),
        Event.session_id,
    )
    .where(Event.user_id == bindparam("owner"), Event.id < bindparam("before"))
    .order_by(Event.id.desc())
    .limit(bindparam("at_most", type_=Integer))
)

ANONYMIZE_USER = Write(
    select(func.events_forget_person(bindparam("user", type_=Event.user_id.type))), parameters=AnonymizeUser
)


def audit_cte(
    kind: EventType | Any,
    *,
    about: FromClause,
    session_id: Any = None,
    actor: Caller | None = None,
    **details: Any,
) -> CTE:
    """Build the part of a statement that records an event about a user whom another part of it changes.

    `about` is that other part, with a column `user_id`: one event is recorded for each of its rows, none if it has no
    row. `actor` is None for the user itself. `kind` and `details` may be SQL expressions. The statement takes the
    parameters of `ClientParameters`.
    """
    pairs = [argument for name, value in details.items() for argument in (literal(name), value)]
    values: dict[str, Any] = {
        "kind": literal(kind.value) if isinstance(kind, EventType) else kind,
        "outcome": literal(SUCCESS),
        "user_id": about.c.user_id,
        "session_id": null() if session_id is None else session_id,
        "address": _about_session["address"],
        "device": _about_session["device"],
        "request_id": _about_session["request_id"],
        "details": func.jsonb_build_object(*pairs),
    }
    if actor is not None:
        values |= {"actor_type": literal(actor.type.value), "actor_id": literal(actor.id)}
    return insert(Event).from_select(list(values), select(*values.values())).cte("audit_event")


def audit_each_cte(sessions: CTE) -> Any:
    """Build a statement that changes sessions and records an event about each; it returns the ids of the sessions.

    `sessions` changes them and has the columns `id` and `user_id`. The statement takes the parameters of
    `EventsOfSessions`.
    """
    values = _about_session | {
        "user_id": sessions.c.user_id,
        "session_id": sessions.c.id,
        "actor_type": _parameter("actor_type"),
        "actor_id": _parameter("actor_id"),
    }
    return insert(Event).from_select(list(values), select(*values.values())).returning(Event.session_id)
