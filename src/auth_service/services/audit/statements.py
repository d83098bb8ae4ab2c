"""SQL statements about audit events, with their typed parameters."""

import uuid
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import (
    CTE,
    FromClause,
    Integer,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from auth_service.db import Write
from auth_service.models import Event, User
from auth_service.models.audit_event import SUCCESS, EventType

# Statements are built at import: building one costs about as much as running it.


class SeenAt(TypedDict):
    """Parameters that say where a request came from."""

    seen_address: str | None
    seen_device: str


class NewEvent(SeenAt):
    """Parameters of an audit event."""

    kind: str
    outcome: str
    user_id: int | None
    session_id: uuid.UUID | None
    details: str
    """A JSON object."""


class NewFailure(NewEvent):
    """Parameters of an event about a failed attempt, and of its daily cap."""

    held: int
    user: int
    since: datetime
    until: datetime
    most: int


class EventsOfSessions(SeenAt):
    """Parameters of the events about sessions that one statement changes."""

    kind: str
    outcome: str
    details: str


class AnonymizeUser(TypedDict):
    """Parameters of the removal of a user from the events."""

    user: int


def _parameter(name: str, column: str | None = None) -> Any:
    return bindparam(name, type_=Event.__table__.c[column or name].type)


_details = cast(bindparam("details", type_=Text), JSONB)
_about_session: dict[str, Any] = {
    "kind": _parameter("kind"),
    "outcome": _parameter("outcome"),
    "address": _parameter("seen_address", "address"),
    "device": _parameter("seen_device", "device"),
    "details": _details,
}
_event = _about_session | {"user_id": _parameter("user_id"), "session_id": _parameter("session_id")}
INSERT_EVENT = Write(insert(Event).values(_event), parameters=NewEvent)

# Counts no further than it has to, along an index, and names nobody as 0: whether there is such a person makes no
# difference to the plan. The instants are values and not now(), so that the planner leaves out months.
_failures = (
    select(literal_column("1"))
    .where(
        func.coalesce(Event.user_id, literal_column("0")) == bindparam("user"),
        Event.outcome == literal_column("'failure'"),
        Event.at > bindparam("since"),
        Event.at < bindparam("until"),
    )
    .limit(bindparam("most", type_=Integer))
    .subquery()
)
_room = select(
    (select(func.count()).select_from(_failures).scalar_subquery() < bindparam("most", type_=Integer)).label("room")
).cte("room_for_one")
# Whoever is named must not be deleted meanwhile, or the history would go on saying whose this was. If they are gone,
# nothing is noted of them. For nobody the same is looked up, and not found.
_held = (
    select(User.id).where(User.id == bindparam("held")).with_for_update(read=True, key_share=True).cte("held_person")
)
_nobody_or_there = (bindparam("held") == 0) == (select(func.count()).select_from(_held).scalar_subquery() == 0)
_failure = (
    insert(Event)
    .from_select(
        list(_event),
        select(*_event.values()).where(_room.c.room, _nobody_or_there),
        include_defaults=False,
    )
    .cte("failure")
)
# Where nothing is written, committing would not wait for the disk, and the missing milliseconds would tell an account
# that is attacked from an address that nobody has. So something is written in any case, if only into the log of the
# database, where it takes no room for long.
INSERT_FAILURE = Write(
    select(
        case((~_room.c.room, func.pg_logical_emit_message(true(), literal_column("'history'"), literal_column("''"))))
    ).add_cte(_failure),
    parameters=NewFailure,
)

PAGE = (
    select(
        Event.id,
        Event.at,
        Event.kind,
        Event.outcome,
        Event.details["method"].astext.label("method"),
        Event.device,
        func.host(Event.address).label("address"),
        Event.session_id,
    )
    .where(Event.user_id == bindparam("owner"), Event.id < bindparam("before"))
    .order_by(Event.id.desc())
    .limit(bindparam("most", type_=Integer))
)

ANONYMIZE_USER = Write(
    select(func.events_forget_person(bindparam("user", type_=Event.user_id.type))), parameters=AnonymizeUser
)


def audit_cte(kind: EventType, *, about: FromClause, session_id: Any = None, **details: Any) -> CTE:
    """A part of the statement that does something to the user `about.c.user_id`, which also notes it.

    Nothing is noted where `about`, what was done, has no row. Its parameters are those of `SeenAt`.
    """
    said = [word for name, value in details.items() for word in (literal(name), value)]
    values = {
        "kind": literal(kind.value),
        "outcome": literal(SUCCESS),
        "user_id": about.c.user_id,
        "session_id": null() if session_id is None else session_id,
        "address": _about_session["address"],
        "device": _about_session["device"],
        "details": func.jsonb_build_object(*said),
    }
    return insert(Event).from_select(list(values), select(*values.values())).cte("noted")


def audit_each_cte(sessions: CTE) -> Any:
    """The statement that changes sessions and notes an event about each; it returns their ids.

    `sessions` changes them and returns their `id` and `user_id`. Its parameters are those of `EventsOfSessions`.
    """
    values = _about_session | {"user_id": sessions.c.user_id, "session_id": sessions.c.id}
    return insert(Event).from_select(list(values), select(*values.values())).returning(Event.session_id)
