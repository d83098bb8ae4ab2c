"""SQL statements about sessions, with their typed parameters and rows."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Interval, Text, and_, bindparam, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from auth_service.db import Statement
from auth_service.models import RolePermission, Session, User, UserRole
from auth_service.services.audit.statements import ClientParameters, DeviceParameters, audit_cte
from auth_service.services.credentials.second_factors import has_passkey, totp_is_on

# Statements are built at import: building one costs about as much as running it.

_live = Session.is_live()


def _roles(owner: Any) -> Any:
    return select(func.array_agg(UserRole.role)).where(UserRole.user_id == owner).scalar_subquery().label("roles")


def permissions_of(owner: Any) -> Any:
    """Build the subquery for the permissions of a user, whose id is an SQL expression."""
    return (
        select(func.array_agg(RolePermission.permission.distinct()))
        .join(UserRole, UserRole.role == RolePermission.role)
        .where(UserRole.user_id == owner)
        .scalar_subquery()
        .label("permissions")
    )


def _open() -> Any:
    """Insert a session and its audit event, if the credential version is the verified one and there is no ban."""
    chosen_columns = ("id", "method", "acr", "amr", "transport", "ticket_digest")
    chosen = {name: bindparam(name, type_=Session.__table__.c[name].type) for name in chosen_columns}
    client = {name: bindparam(f"seen_{name}", type_=Session.__table__.c[name].type) for name in ("device", "address")}
    # A session that replaces another one after a reauthentication ends when that one would have ended.
    until = bindparam("until", type_=Session.expires_at.type)
    expires_at = func.coalesce(until, func.now() + bindparam("absolute", type_=Interval))
    lifetime = {
        "idle_at": func.least(func.now() + bindparam("idle", type_=Interval), expires_at),
        "expires_at": expires_at,
    }
    values = {"user_id": User.id, "counter": literal(0), **chosen, **client, **lifetime}
    owner = (
        select(*values.values())
        .where(
            User.id == bindparam("owner"),
            User.credential_version == bindparam("version"),
            User.factor_version == bindparam("factor_version"),
            ~User.is_banned(),
        )
        # Race with a password change, a new second factor or a ban: it either waits for this lock and then revokes the
        # new session, or this statement waits and finds another version or the ban. No session outlives the password
        # that opened it, and none survives a ban.
        .with_for_update(read=True)
    )
    opened = (
        insert(Session)
        .from_select(list(values), owner, include_defaults=False)
        # A flow ticket opens one session: the other concurrent requests wait for the first, and open none (FD6).
        .on_conflict_do_nothing()
        .returning(Session.id, Session.user_id, Session.method, Session.authenticated_at, Session.acr)
        .cte("opened")
    )
    event = audit_cte(bindparam("kind", type_=Text), about=opened, session_id=opened.c.id, method=opened.c.method)
    columns = (_roles(opened.c.user_id), opened.c.authenticated_at, opened.c.acr)
    return select(*columns).select_from(opened).add_cte(event)


class Open(ClientParameters):
    """Parameters of a new session."""

    id: uuid.UUID
    owner: int
    version: int
    factor_version: int
    method: str
    acr: str
    amr: list[str]
    transport: str
    ticket_digest: bytes | None
    idle: timedelta
    absolute: timedelta
    until: datetime | None
    kind: str


class Refresh(DeviceParameters):
    """Parameters of the rotation of a refresh token."""

    session: uuid.UUID
    used: int
    idle: timedelta


class Rotation(TypedDict):
    """Parameters of the query for the rotation state of a session (reuse detection)."""

    session: uuid.UUID
    grace: timedelta


class ByTokenClaims(TypedDict):
    """Parameters of the query for the session of an access token."""

    session: uuid.UUID
    owner: int


class Opened(NamedTuple):
    """What the access token says about a new session and its owner."""

    roles: Sequence[str] | None
    authenticated_at: datetime
    acr: str


class Owner(NamedTuple):
    """The owner of a session, and how the owner authenticated in it."""

    id: int
    roles: Sequence[str] | None
    authenticated_at: datetime
    acr: str


class RotationState(NamedTuple):
    """Rotation state of a session: the counter of its successor token, and whether the rotation was recent."""

    owner: int
    roles: Sequence[str] | None
    authenticated_at: datetime
    acr: str
    counter: int
    is_recent: bool


class SessionOwner(NamedTuple):
    """The session of an access token and its owner."""

    id: int
    email: str
    verified_mail: bool
    password_set: bool
    roles: Sequence[str] | None
    permissions: Sequence[str] | None
    authenticated_at: datetime
    authenticated_ago: timedelta
    """By the clock of the database."""
    acr: str
    amr: Sequence[str] | None
    method: str
    transport: str
    expires_at: datetime
    totp: bool
    passkeys: bool


_this_session = Session.id == bindparam("session", type_=Session.id.type)
# A ban revokes all sessions. The comparison also covers sessions that the release before bans opens meanwhile.
_owner_is_not_banned = and_(User.id == Session.user_id, ~User.is_banned())

OPEN = Statement(_open(), parameters=Open, row=Opened)

REFRESH = Statement(
    update(Session)
    .where(_this_session, Session.counter == bindparam("used"), _live, _owner_is_not_banned)
    .values(
        counter=Session.counter + 1,
        refreshed_at=func.now(),
        idle_at=func.least(func.now() + bindparam("idle", type_=Interval), Session.expires_at),
        device=bindparam("seen_device"),
        address=bindparam("seen_address"),
    )
    .returning(Session.user_id, _roles(Session.user_id), Session.authenticated_at, Session.acr),
    parameters=Refresh,
    row=Owner,
)

ROTATION_STATE = Statement(
    select(
        Session.user_id,
        _roles(Session.user_id),
        Session.authenticated_at,
        Session.acr,
        Session.counter,
        Session.refreshed_at > func.now() - bindparam("grace", type_=Interval),
    ).where(_this_session, _live, _owner_is_not_banned),
    parameters=Rotation,
    row=RotationState,
)

CURRENT_USER = Statement(
    select(
        User.id,
        User.email,
        User.verified_mail,
        User.password_hash.is_not(None),
        _roles(User.id),
        permissions_of(User.id),
        Session.authenticated_at,
        func.now() - Session.authenticated_at,
        Session.acr,
        Session.amr,
        Session.method,
        Session.transport,
        Session.expires_at,
        totp_is_on(User.id),
        has_passkey(User.id),
    )
    .join(Session, Session.user_id == User.id)
    .where(_live, _this_session, User.id == bindparam("owner"), ~User.is_banned()),
    parameters=ByTokenClaims,
    row=SessionOwner,
)
