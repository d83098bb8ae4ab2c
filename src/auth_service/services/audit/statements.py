"""SQL statements of the audit log, with their typed parameters."""

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

# Statements are built at import, because building one takes about as long as running it.


class ClientParameters(TypedDict):
    """Parameters with the IP address and the device of the request."""

    seen_address: str | None
    seen_device: str


class NewEvent(ClientParameters):
    """Parameters of an audit event."""

    kind: str
    outcome: str
    user_id: int | None
    session_id: uuid.UUID | None
    details: str
    """A JSON object."""


class NewFailure(NewEvent):
    """Parameters of an event about a failed attempt, and of the daily cap of failures."""

    locked: int
    """The user to lock against concurrent deletion; 0 for none."""
    user: int
    """The user whose failures count for the cap; 0 for unknown users."""
    since: datetime
    until: datetime
    cap: int


class EventsOfSessions(ClientParameters):
    """Parameters of the events about sessions that one statement revokes or changes."""

    kind: str
    outcome: str
    details: str


class AnonymizeUser(TypedDict):
    """Parameters of the anonymisation of the events of a user."""

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

# Counts along an index, and not beyond the cap. Unknown users are counted under 0, so that they have the same plan as
# known users: constant work, prevents user enumeration by timing. The time range is passed as values instead of now(),
# so that the planner skips the partitions of other months.
_failures = (
    select(literal_column("1"))
    .where(
        func.coalesce(Event.user_id, literal_column("0")) == bindparam("user"),
        Event.outcome == literal_column("'failure'"),
        Event.at > bindparam("since"),
        Event.at < bindparam("until"),
    )
    .limit(bindparam("cap", type_=Integer))
    .subquery()
)
_below_cap = select(
    (select(func.count()).select_from(_failures).scalar_subquery() < bindparam("cap", type_=Integer)).label("holds")
).cte("below_cap")
# The lock keeps the user from being deleted concurrently: an event that is recorded after the deletion would keep the
# id of the user. For a user who is already deleted nothing is recorded. For 0 the same look-up runs and finds no user:
# constant work.
_locked = (
    select(User.id).where(User.id == bindparam("locked")).with_for_update(read=True, key_share=True).cte("locked_user")
)
_unknown_or_exists = (bindparam("locked") == 0) == (select(func.count()).select_from(_locked).scalar_subquery() == 0)
_failure = (
    insert(Event)
    .from_select(
        list(_event),
        select(*_event.values()).where(_below_cap.c.holds, _unknown_or_exists),
        include_defaults=False,
    )
    .cte("failure")
)
# A COMMIT without writes does not wait for the disk. Beyond the cap, the missing milliseconds would distinguish a user
# under attack from an unknown address (timing side channel). A message in the write-ahead log, which PostgreSQL
# recycles, takes the place of the event there.
INSERT_FAILURE = Write(
    select(
        case(
            (
                ~_below_cap.c.holds,
                func.pg_logical_emit_message(true(), literal_column("'history'"), literal_column("''")),
            )
        )
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
    .limit(bindparam("at_most", type_=Integer))
)

ANONYMIZE_USER = Write(
    select(func.events_forget_person(bindparam("user", type_=Event.user_id.type))), parameters=AnonymizeUser
)


def audit_cte(kind: EventType, *, about: FromClause, session_id: Any = None, **details: Any) -> CTE:
    """Build the part of a statement that records an event about a user whom another part of it changes.

    `about` is that other part, with a column `user_id`: one event is recorded for each of its rows, none if it has no
    row. `details` are SQL expressions. The statement takes the parameters of `ClientParameters`.
    """
    pairs = [argument for name, value in details.items() for argument in (literal(name), value)]
    values = {
        "kind": literal(kind.value),
        "outcome": literal(SUCCESS),
        "user_id": about.c.user_id,
        "session_id": null() if session_id is None else session_id,
        "address": _about_session["address"],
        "device": _about_session["device"],
        "details": func.jsonb_build_object(*pairs),
    }
    return insert(Event).from_select(list(values), select(*values.values())).cte("audit_event")


def audit_each_cte(sessions: CTE) -> Any:
    """Build a statement that changes sessions and records an event about each; it returns the ids of the sessions.

    `sessions` changes them and has the columns `id` and `user_id`. The statement takes the parameters of
    `EventsOfSessions`.
    """
    values = _about_session | {"user_id": sessions.c.user_id, "session_id": sessions.c.id}
    return insert(Event).from_select(list(values), select(*values.values())).returning(Event.session_id)
