"""History: the record of what happened to an account, for its owner and for those who investigate."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, insert, literal, select, update

from auth_service.models import Event, db, writing
from auth_service.models.event import FAILURE, SUCCESS
from auth_service.services.pages import Page

DAY = timedelta(days=1)

_NOTE = insert(Event).values(
    {name: bindparam(name) for name in ("kind", "outcome", "user_id", "session_id", "address", "device", "details")}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a request came from, as far as it can be told."""

    address: str
    """The client's address, found through trusted proxies."""
    device: str
    """The device in words for its owner, at most 256 characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Writes events in the transaction of what they tell of."""

    failures_a_day: int

    def note(
        self, kind: str, *, user_id: int, origin: Origin, session_id: uuid.UUID | None = None, **details: Any
    ) -> None:
        """Write down that something was done."""
        about = {"kind": kind, "outcome": SUCCESS, "user_id": user_id, "session_id": session_id, "details": details}
        writing().execute(_NOTE, about | {"address": origin.address, "device": origin.device})

    def note_failure(self, kind: str, *, user_id: int | None, origin: Origin, **details: Any) -> None:
        """Write down that something was tried in vain, unless there is too much of that today already.

        Failures are capped apart: whoever fails a million times must not bury what matters, nor fill the disk.
        """
        today = (
            select(func.count())
            .where(Event.user_id.is_not_distinct_from(user_id), Event.outcome == FAILURE, Event.at > func.now() - DAY)
            .scalar_subquery()
        )
        columns = {
            "kind": literal(kind),
            "outcome": literal(FAILURE),
            "user_id": literal(user_id, Event.user_id.type),
            "address": literal(origin.address, Event.address.type),
            "device": literal(origin.device),
            "details": literal(details, Event.details.type),
        }
        writing().execute(
            insert(Event).from_select(list(columns), select(*columns.values()).where(today < self.failures_a_day))
        )

    def forget_person(self, user_id: int) -> None:
        """Leave of somebody's history only that these things happened, and that an account was deleted."""
        nobody: dict[str, Any] = {"user_id": None, "session_id": None, "address": None, "device": "", "details": {}}
        writing().execute(update(Event).where(Event.user_id == user_id).values(nobody))
        writing().execute(_NOTE, {"kind": "account_deleted", "outcome": SUCCESS, **nobody})

    def page(self, *, user_id: int, before: int | None, limit: int) -> Page[Event]:
        """A page of somebody's history; `before` is the cursor of the page before it."""
        wanted = select(Event).where(Event.user_id == user_id).order_by(Event.id.desc()).limit(limit + 1)
        if before is not None:
            wanted = wanted.where(Event.id < before)
        events = list(db.session.execute(wanted).scalars())
        more = len(events) > limit
        return Page(items=events[:limit], next_cursor=str(events[limit - 1].id) if more else None)
