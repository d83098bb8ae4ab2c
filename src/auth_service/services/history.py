"""History: the record of what happened to an account, for its owner and for those who investigate."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
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

from auth_service import clock
from auth_service.adapters.limiter import network_of
from auth_service.models import Event, Prepared, User, reading, writing, written_at_once
from auth_service.models.event import FAILURE, SUCCESS, Kind
from auth_service.services.pages import Cursors, Page

DAY = timedelta(days=1)
NEWEST = 2**63 - 1

BY_STRANGERS = (Kind.SIGN_IN_REFUSED, Kind.RECOVERY_REFUSED)
"""What is refused to people who are not signed in: holding a user would take time that tells whether there is one."""

# Statements are built at import: building one costs about as much as running it.

_columns = ("kind", "outcome", "user_id", "session_id", "address", "device", "details")
_NOTE = insert(Event).values({name: bindparam(name) for name in _columns})

# Counts no further than it has to, along an index, and names nobody as 0: whether there is such a person makes no
# difference to the plan. The instants are values and not now(), so that the planner leaves out months.
_failures = (
    select(literal_column("1"))
    .where(
        func.coalesce(Event.user_id, literal_column("0")) == bindparam("person"),
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
_about_failure = {
    **{name: bindparam(name, type_=Event.__table__.c[name].type) for name in _columns if name != "details"},
    "details": cast(bindparam("details", type_=Text), JSONB),
}
# Whoever is named must not be deleted meanwhile, or the history would go on saying whose this was. If they are gone,
# nothing is noted of them. For nobody the same is looked up, and not found.
_held = (
    select(User.id).where(User.id == bindparam("held")).with_for_update(read=True, key_share=True).cte("held_person")
)
_nobody_or_there = (bindparam("held") == 0) == (select(func.count()).select_from(_held).scalar_subquery() == 0)
_failure = (
    insert(Event)
    .from_select(
        list(_about_failure),
        select(*_about_failure.values()).where(_room.c.room, _nobody_or_there),
        include_defaults=False,
    )
    .cte("failure")
)
# Where nothing is written, committing would not wait for the disk, and the missing milliseconds would tell an account
# that is attacked from an address that nobody has. So something is written in any case, if only into the log of the
# database, where it takes no room for long.
_NOTE_FAILURE = Prepared(
    select(
        case((~_room.c.room, func.pg_logical_emit_message(true(), literal_column("'history'"), literal_column("''"))))
    ).add_cte(_failure)
)

_PAGE = (
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

_FORGET_PERSON = select(func.events_forget_person(bindparam("person", type_=Event.user_id.type)))


def noted(kind: Kind, *, about: FromClause, session_id: Any = None, **details: Any) -> CTE:
    """A part of the statement that does something to the user `about.c.user_id`, which also notes it.

    Nothing is noted where `about`, what was done, has no row. Its parameters are `seen_address` and `seen_device`,
    those of the origin.
    """
    said = [word for name, value in details.items() for word in (literal(name), value)]
    values = {
        "kind": literal(kind.value),
        "outcome": literal(SUCCESS),
        "user_id": about.c.user_id,
        "session_id": null() if session_id is None else session_id,
        "address": bindparam("seen_address", type_=Event.address.type),
        "device": bindparam("seen_device", type_=Event.device.type),
        "details": func.jsonb_build_object(*said),
    }
    return insert(Event).from_select(list(values), select(*values.values())).cte("noted")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a request came from, as far as it can be told."""

    address: str
    """The client's address, found through trusted proxies."""
    device: str
    """The device in words for its owner, at most 256 characters."""

    @property
    def network(self) -> str:
        """Whom the client is counted as."""
        return network_of(self.address)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An event as its owner sees it."""

    at: datetime
    kind: str
    outcome: str
    method: str | None
    device: str
    address: str | None
    session_id: uuid.UUID | None
    current: bool
    """Whether it is about the session that asks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Writes events in the transaction of what they tell of."""

    failures_a_day: int
    cursors: Cursors

    def note(
        self,
        kind: str,
        *,
        user_id: int,
        origin: Origin,
        session_id: uuid.UUID | None = None,
        outcome: str = SUCCESS,
        **details: Any,
    ) -> None:
        """Write down that something happened; `kind` is one of `Kind`, else ValueError."""
        about = _about(kind, origin, details) | {"user_id": user_id, "session_id": session_id}
        writing().execute(_NOTE, about | {"outcome": outcome})

    def note_each(
        self, kind: str, sessions: CTE, *, origin: Origin, outcome: str = SUCCESS, **details: Any
    ) -> list[uuid.UUID]:
        """Write down that something happened to each of some sessions, in one statement with what happened.

        `sessions` is what changes them and returns their `id` and `user_id`; so are their ids returned.
        """
        about = _about(kind, origin, details) | {"outcome": outcome}
        values: dict[str, ColumnElement[Any]] = {
            name: literal(value, Event.__table__.c[name].type) for name, value in about.items()
        }
        values |= {"user_id": sessions.c.user_id, "session_id": sessions.c.id}
        noted = insert(Event).from_select(list(values), select(*values.values())).returning(Event.session_id)
        return [row.session_id for row in writing().execute(noted)]

    def note_failure(
        self, kind: str, *, user_id: int | None, origin: Origin, session_id: uuid.UUID | None = None, **details: Any
    ) -> None:
        """Write down that something was tried in vain, unless there is too much of that today already.

        In one round trip, so it has to be the last that a unit of work writes.
        Failures are capped apart, for each person and for all unknown addresses together: whoever fails a million times
        must not bury what matters, nor fill the disk. Of several at the same moment all may see room for one more, so
        the cap is exceeded by as many as there are requests at once, and not by more. Of somebody who was deleted at
        this moment nothing is written down; but what a stranger tries at that very moment may go on naming an id that
        nobody has any more.
        """
        now = clock.now()
        about = _about(kind, origin, json.dumps(details)) | {"user_id": user_id, "session_id": session_id}
        about["held"] = 0 if kind in BY_STRANGERS else user_id or 0
        cap = {"person": user_id or 0, "since": now - DAY, "until": now + DAY, "most": self.failures_a_day}
        written_at_once((_NOTE_FAILURE, about | cap | {"outcome": FAILURE}))

    def page(
        self, *, user_id: int, session_id: uuid.UUID | None = None, cursor: str | None = None, limit: int
    ) -> Page[Entry]:
        """A page of somebody's history, the newest first, as the session `session_id` sees it.

        Raises ValidationFailed for a cursor of anybody else.
        """
        before = NEWEST if cursor is None else self.cursors.position(cursor, of="history", user_id=user_id)
        with reading() as connection:
            rows = connection.execute(_PAGE, {"owner": user_id, "before": before, "most": limit + 1}).all()
        page = self.cursors.page(rows, limit=limit, of="history", user_id=user_id, position=lambda row: row.id)
        entries = [
            Entry(current=row.session_id is not None and row.session_id == session_id, **_without_id(row))
            for row in page.items
        ]
        return Page(items=entries, next_cursor=page.next_cursor)

    def forget_person(self, user_id: int) -> None:
        """Let the events of somebody say no more whose they were, and note that an account was deleted.

        For accounts that are gone: in the transaction that deletes the user, after that; while there is such a user
        the database refuses. What stays is what happened, when, and by which method.
        """
        writing().execute(_FORGET_PERSON, {"person": user_id})
        nobody: dict[str, Any] = {"user_id": None, "session_id": None, "address": None, "device": "", "details": {}}
        writing().execute(_NOTE, {"kind": Kind.ACCOUNT_DELETED.value, "outcome": SUCCESS, **nobody})


def _about(kind: str, origin: Origin, details: dict[str, Any] | str) -> dict[str, Any]:
    return {"kind": Kind(kind).value, "address": origin.address, "device": origin.device, "details": details}


def _without_id(row: Any) -> dict[str, Any]:
    names: Sequence[str] = row._fields
    return {name: value for name, value in zip(names, row, strict=True) if name != "id"}
