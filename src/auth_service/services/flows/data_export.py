"""Export: everything that the service keeps about somebody, for that person to take along."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, bindparam, func, select

from auth_service import clock
from auth_service.db import autocommit
from auth_service.errors import TokenInvalid
from auth_service.models import Event, OutboxMessage, PendingEmailChange, Session, User, UserRole
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.sessions.sessions import CurrentUser

MOST = 1000
"""What one list of an export holds at most, the newest first."""

_owner: BindParameter[int] = bindparam("owner")

_PROFILE = select(
    User.id,
    User.email,
    User.verified_mail,
    User.verified_at,
    User.password_hash.is_not(None).label("has_password"),
    User.language,
    User.created_at,
).where(User.id == _owner)

_ROLES = select(UserRole.role).where(UserRole.user_id == _owner).order_by(UserRole.role).limit(MOST)

_LISTS = {
    "sessions": select(
        Session.id,
        Session.device,
        func.host(Session.address).label("address"),
        Session.method,
        Session.transport,
        Session.opened_at,
        Session.refreshed_at.label("last_used_at"),
        Session.expires_at,
        Session.ended_at,
        Session.end_reason,
    )
    .where(Session.user_id == _owner)
    .order_by(Session.opened_at.desc(), Session.id),
    "history": select(
        Event.at,
        Event.kind,
        Event.outcome,
        Event.session_id,
        Event.device,
        func.host(Event.address).label("address"),
        Event.details,
    )
    .where(Event.user_id == _owner)
    .order_by(Event.id.desc()),
    "letters": select(
        OutboxMessage.kind,
        OutboxMessage.recipient,
        OutboxMessage.language,
        OutboxMessage.state,
        OutboxMessage.created_at,
        OutboxMessage.ended_at,
    )
    .where(OutboxMessage.user_id == _owner)
    .order_by(OutboxMessage.created_at.desc(), OutboxMessage.id),
    "email_changes": select(PendingEmailChange.email, PendingEmailChange.created_at)
    .where(PendingEmailChange.user_id == _owner)
    .order_by(PendingEmailChange.created_at.desc(), PendingEmailChange.session_id),
}
"""One more than is shown is asked for: it says that there are more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """Somebody's data; `complete` is false where a list had to be cut to its newest thousand."""

    exported_at: datetime
    profile: Any
    roles: Sequence[str]
    sessions: Sequence[Any]
    history: Sequence[Any]
    letters: Sequence[Any]
    email_changes: Sequence[Any]
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DataExport:
    """Puts together what the service keeps about somebody: no secrets, and of letters no contents."""

    history: AuditLog

    def of(self, caller: CurrentUser, *, client: ClientInfo) -> Exported:
        """Everything about the caller, and nothing about anybody else; that it was taken along is noted."""
        owner = {"owner": caller.id}
        with autocommit() as connection:
            profile = connection.execute(_PROFILE, owner).one_or_none()
            if profile is None:  # deleted since the token was looked at
                raise TokenInvalid
            roles = connection.execute(_ROLES, owner).scalars().all()
            lists = {name: connection.execute(rows.limit(MOST + 1), owner).all() for name, rows in _LISTS.items()}
        self.history.note(EventType.DATA_EXPORTED, user_id=caller.id, client=client, session_id=caller.session_id)
        return Exported(
            exported_at=clock.now(),
            profile=profile,
            roles=roles,
            complete=all(len(rows) <= MOST for rows in lists.values()),
            **{name: rows[:MOST] for name, rows in lists.items()},
        )
