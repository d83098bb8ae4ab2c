"""Data export: a copy of all personal data of the current user (GDPR, articles 15 and 20)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, bindparam, case, func, literal_column, select

from auth_service import clock
from auth_service.db import autocommit
from auth_service.errors import TokenInvalid
from auth_service.models import Event, OutboxMessage, Passkey, PendingEmailChange, Session, User, UserRole
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.audit.statements import FOR_USER, IS_OWN
from auth_service.services.credentials.second_factors import Factors, factors_of
from auth_service.services.sessions.sessions import CurrentUser

MAX_ROWS = 1000
"""The longest list of an export; older rows are left out."""

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

_ROLES = select(UserRole.role).where(UserRole.user_id == _owner).order_by(UserRole.role).limit(MAX_ROWS)

# Reasons are notes of administrators to each other, except for that of a ban; a change may be known to them only.
_notes = case(
    (Event.kind == EventType.USER_BANNED.value, literal_column("'{changes}'::text[]")),
    else_=literal_column("'{changes,reason}'::text[]"),
)
_details_of_others = Event.details.op("-")(_notes)

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
        *FOR_USER.values(),
        case((IS_OWN, Event.details), else_=_details_of_others).label("details"),
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
    "passkeys": select(
        Passkey.id,
        Passkey.name,
        Passkey.aaguid,
        Passkey.backup_eligible.label("synced"),
        Passkey.transports,
        Passkey.created_at,
        Passkey.last_used_at,
    )
    .where(Passkey.user_id == _owner)
    .order_by(Passkey.created_at.desc(), Passkey.id),
    "email_changes": select(PendingEmailChange.email, PendingEmailChange.created_at)
    .where(PendingEmailChange.user_id == _owner)
    .order_by(PendingEmailChange.created_at.desc(), PendingEmailChange.session_id),
}
"""The lists of an export, the newest row first. MAX_ROWS + 1 rows are read, to know whether rows are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """The data of one user; `complete` is false if a list was cut to its newest MAX_ROWS rows."""

    exported_at: datetime
    profile: Any
    second_factor: Factors
    roles: Sequence[str]
    sessions: Sequence[Any]
    history: Sequence[Any]
    letters: Sequence[Any]
    passkeys: Sequence[Any]
    email_changes: Sequence[Any]
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DataExport:
    """Collects the data of a user, without secrets and without the content of emails."""

    audit_log: AuditLog

    def of(self, current_user: CurrentUser, *, client: ClientInfo) -> Exported:
        """Export the data of the current user, and record an audit event. Raises TokenInvalid."""
        owner = {"owner": current_user.id}
        with autocommit() as connection:
            profile = connection.execute(_PROFILE, owner).one_or_none()
            factors = factors_of(current_user.id)
            if profile is None or factors is None:  # deleted after the access token was verified
                raise TokenInvalid
            roles = connection.execute(_ROLES, owner).scalars().all()
            lists = {name: connection.execute(query.limit(MAX_ROWS + 1), owner).all() for name, query in _LISTS.items()}
        self.audit_log.record(
            EventType.DATA_EXPORTED, user_id=current_user.id, client=client, session_id=current_user.session_id
        )
        return Exported(
            exported_at=clock.now(),
            profile=profile,
            second_factor=factors,
            roles=roles,
            complete=all(len(rows) <= MAX_ROWS for rows in lists.values()),
            **{name: rows[:MAX_ROWS] for name, rows in lists.items()},
        )
