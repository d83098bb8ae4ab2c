"""Own sessions: somebody sees where they are signed in, and ends what should not be."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import Integer, bindparam, func, select, tuple_

from auth_service.db import Statement, autocommit, transaction
from auth_service.errors import SessionUnknown
from auth_service.models import Session
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.pagination import Cursors, Page
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.sessions.sessions import CurrentUser

_position = tuple_(Session.opened_at, Session.id)

_NEWEST = (
    select(
        Session.id,
        Session.device,
        func.host(Session.address).label("address"),
        Session.method,
        Session.opened_at,
        Session.refreshed_at.label("last_used_at"),
        (Session.id == bindparam("current")).label("current"),
    )
    .where(Session.user_id == bindparam("owner"), Session.is_live())
    .order_by(Session.opened_at.desc(), Session.id.desc())
    .limit(bindparam("most", type_=Integer))
)
_OLDER = _NEWEST.where(
    _position
    < tuple_(bindparam("opened_at", type_=Session.opened_at.type), bindparam("session", type_=Session.id.type))
)


class _Owned(TypedDict):
    session: uuid.UUID
    owner: int


def _is_owned(_: uuid.UUID) -> bool:
    return True


_OWNED = Statement(
    select(Session.id).where(
        Session.id == bindparam("session", type_=Session.id.type), Session.user_id == bindparam("owner")
    ),
    parameters=_Owned,
    row=_is_owned,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenSession:
    """A living session as its owner sees it; `last_used_at` is when its tokens were last refreshed."""

    id: uuid.UUID
    device: str
    address: str
    method: str
    opened_at: datetime
    last_used_at: datetime
    current: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MySessions:
    """The sessions of whoever calls."""

    history: AuditLog
    cursors: Cursors

    def page(self, caller: CurrentUser, *, cursor: str | None, limit: int) -> Page[OpenSession]:
        """A page of the living sessions of the caller, the newest first. Raises ValidationFailed."""
        given: dict[str, Any] = {"owner": caller.id, "current": caller.session_id, "most": limit + 1}
        if cursor is not None:
            opened_at, session_id = self.cursors.position(cursor, of="sessions", user_id=caller.id)
            given |= {"opened_at": datetime.fromisoformat(opened_at), "session": uuid.UUID(session_id)}
        with autocommit() as connection:
            rows = connection.execute(_NEWEST if cursor is None else _OLDER, given).mappings().all()
        return self.cursors.page(
            [OpenSession(**row) for row in rows],
            limit=limit,
            of="sessions",
            user_id=caller.id,
            position=lambda last: (last.opened_at.isoformat(), str(last.id)),
        )

    def end(self, session_id: uuid.UUID, *, caller: CurrentUser, client: ClientInfo) -> None:
        """End one session of the caller. Raises SessionUnknown, also for one that has ended and for somebody else's."""
        if revoke_sessions(caller.id, only=session_id, reason="ended_by_owner", client=client):
            return
        if not self._was_mine(session_id, caller):
            self.history.record_failure(
                EventType.ACCESS_DENIED,
                user_id=caller.id,
                client=client,
                session_id=caller.session_id,
                refusal=SessionUnknown.code,
            )
        raise SessionUnknown

    def end_others(self, caller: CurrentUser, *, client: ClientInfo) -> None:
        """End all sessions of the caller but the one that speaks."""
        revoke_sessions(caller.id, all_but=caller.session_id, reason="ended_by_owner", client=client)

    def revoke_all(self, caller: CurrentUser, *, client: ClientInfo) -> None:
        """End all sessions of the caller, the one that speaks too."""
        revoke_sessions(caller.id, reason="ended_by_owner", client=client)

    def _was_mine(self, session_id: uuid.UUID, caller: CurrentUser) -> bool:
        return transaction().fetch_one(_OWNED({"session": session_id, "owner": caller.id})) is not None
