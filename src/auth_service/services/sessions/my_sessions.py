"""Session list of the current user: list active sessions, revoke one, all others, or all."""

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
from auth_service.services.sessions.sessions import CurrentUser, SessionHolder

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


class _BySessionAndUser(TypedDict):
    session: uuid.UUID
    owner: int


def _is_owned(_: uuid.UUID) -> bool:
    return True


_OWNED = Statement(
    select(Session.id).where(
        Session.id == bindparam("session", type_=Session.id.type), Session.user_id == bindparam("owner")
    ),
    parameters=_BySessionAndUser,
    row=_is_owned,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenSession:
    """An active session as its user sees it; `last_used_at` is the time of the last token refresh."""

    id: uuid.UUID
    device: str
    address: str
    method: str
    opened_at: datetime
    last_used_at: datetime
    current: bool


def page_of_sessions(
    user_id: int,
    *,
    current: uuid.UUID,
    cursors: Cursors,
    of: str = "sessions",
    cursor_owner: str | int,
    cursor: str | None,
    limit: int,
) -> Page[OpenSession]:
    """Return a page of the active sessions of a user, the newest first.

    `current` is the session of the request. `of` and `cursor_owner` name the list and the client of the cursor (see
    `Cursors`). Raises ValidationFailed for a wrong cursor.
    """
    parameters: dict[str, Any] = {"owner": user_id, "current": current, "most": limit + 1}
    if cursor is not None:
        opened_at, session_id = cursors.position(cursor, of=of, owner=cursor_owner)
        parameters |= {"opened_at": datetime.fromisoformat(opened_at), "session": uuid.UUID(session_id)}
    with autocommit() as connection:
        rows = connection.execute(_NEWEST if cursor is None else _OLDER, parameters).mappings().all()
    return cursors.page(
        [OpenSession(**row) for row in rows],
        limit=limit,
        of=of,
        owner=cursor_owner,
        position=lambda last: (last.opened_at.isoformat(), str(last.id)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class MySessions:
    """Lists and revokes the sessions of the current user."""

    audit_log: AuditLog
    cursors: Cursors

    def page(self, current_user: CurrentUser, *, cursor: str | None, limit: int) -> Page[OpenSession]:
        """Return a page of the active sessions, the newest first. Raises ValidationFailed for a wrong cursor."""
        return page_of_sessions(
            current_user.id,
            current=current_user.session_id,
            cursors=self.cursors,
            cursor_owner=current_user.id,
            cursor=cursor,
            limit=limit,
        )

    def revoke(self, session_id: uuid.UUID, *, current_user: CurrentUser, client: ClientInfo) -> None:
        """Revoke one session of the current user.

        Raises SessionUnknown for an ended session, an unknown id and a session of another user alike. The last two are
        recorded as the audit event `access_denied`, because they may be attempts to guess session ids.
        """
        if revoke_sessions(current_user.id, only=session_id, reason="ended_by_owner", client=client):
            return
        if not self._is_owned(session_id, current_user):
            self.audit_log.record_failure(
                EventType.ACCESS_DENIED,
                user_id=current_user.id,
                client=client,
                session_id=current_user.session_id,
                refusal=SessionUnknown.code,
            )
        raise SessionUnknown

    def revoke_others(self, current_user: CurrentUser, *, client: ClientInfo) -> None:
        """Revoke all sessions of the current user except the current one."""
        revoke_sessions(current_user.id, all_but=current_user.session_id, reason="ended_by_owner", client=client)

    def revoke_all(self, holder: SessionHolder, *, client: ClientInfo) -> None:
        """Revoke all sessions of a user, that of the request included."""
        revoke_sessions(holder.user_id, reason="ended_by_owner", client=client)

    def _is_owned(self, session_id: uuid.UUID, current_user: CurrentUser) -> bool:
        return transaction().fetch_one(_OWNED({"session": session_id, "owner": current_user.id})) is not None
