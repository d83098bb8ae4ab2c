"""SQL statements about sessions, with their typed parameters and rows."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Interval, bindparam, func, insert, literal, select, update

from auth_service.db import Statement
from auth_service.models import Session, User, UserRole
from auth_service.models.audit_event import EventType
from auth_service.services.audit.statements import ClientParameters, audit_cte

# Statements are built at import: building one costs about as much as running it.

_live = Session.is_live()


def _roles(owner: Any) -> Any:
    return select(func.array_agg(UserRole.role)).where(UserRole.user_id == owner).scalar_subquery().label("roles")


def _open() -> Any:
    """Insert a session and its audit event, if the credential version is still the one that was verified."""
    chosen = {name: bindparam(name, type_=Session.__table__.c[name].type) for name in ("id", "method", "transport")}
    client = {name: bindparam(f"seen_{name}", type_=Session.__table__.c[name].type) for name in ("device", "address")}
    lifetime = {
        "idle_at": func.now() + bindparam("idle", type_=Interval),
        "expires_at": func.now() + bindparam("absolute", type_=Interval),
    }
    values = {"user_id": User.id, "counter": literal(0), **chosen, **client, **lifetime}
    owner = (
        select(*values.values())
        .where(User.id == bindparam("owner"), User.credential_version == bindparam("version"))
        # Race with a password change: it either waits for this lock and then revokes the new session, or this statement
        # waits and finds another credential version. No session outlives the password that opened it.
        .with_for_update(read=True)
    )
    opened = (
        insert(Session)
        .from_select(list(values), owner, include_defaults=False)
        .returning(Session.id, Session.user_id, Session.method)
        .cte("opened")
    )
    signed_in = audit_cte(EventType.SIGNED_IN, about=opened, session_id=opened.c.id, method=opened.c.method)
    return select(_roles(opened.c.user_id)).select_from(opened).add_cte(signed_in)


class Open(ClientParameters):
    """Parameters of a new session."""

    id: uuid.UUID
    owner: int
    version: int
    method: str
    transport: str
    idle: timedelta
    absolute: timedelta


class Refresh(ClientParameters):
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


class Recent(TypedDict):
    """Parameters of the query whether the user authenticated recently in a session."""

    session: uuid.UUID
    within: timedelta


class Roles(NamedTuple):
    """The roles of the owner of a session."""

    roles: Sequence[str] | None


class Owner(NamedTuple):
    """The owner of a session."""

    id: int
    roles: Sequence[str] | None


class RotationState(NamedTuple):
    """Rotation state of a session: the counter of its successor token, and whether the rotation was recent."""

    owner: int
    roles: Sequence[str] | None
    counter: int
    is_recent: bool


class SessionOwner(NamedTuple):
    """The session of an access token and its owner."""

    id: int
    email: str
    verified_mail: bool
    roles: Sequence[str] | None
    authenticated_at: datetime
    transport: str


_this_session = Session.id == bindparam("session", type_=Session.id.type)

OPEN = Statement(_open(), parameters=Open, row=Roles)

REFRESH = Statement(
    update(Session)
    .where(_this_session, Session.counter == bindparam("used"), _live)
    .values(
        counter=Session.counter + 1,
        refreshed_at=func.now(),
        idle_at=func.least(func.now() + bindparam("idle", type_=Interval), Session.expires_at),
        device=bindparam("seen_device"),
        address=bindparam("seen_address"),
    )
    .returning(Session.user_id, _roles(Session.user_id)),
    parameters=Refresh,
    row=Owner,
)

ROTATION_STATE = Statement(
    select(
        Session.user_id,
        _roles(Session.user_id),
        Session.counter,
        Session.refreshed_at > func.now() - bindparam("grace", type_=Interval),
    ).where(_this_session, _live),
    parameters=Rotation,
    row=RotationState,
)

CURRENT_USER = Statement(
    select(
        User.id,
        User.email,
        User.verified_mail,
        _roles(User.id),
        Session.authenticated_at,
        Session.transport,
    )
    .join(Session, Session.user_id == User.id)
    .where(_live, _this_session, User.id == bindparam("owner")),
    parameters=ByTokenClaims,
    row=SessionOwner,
)

IS_RECENT = Statement(
    select(Session.id).where(
        _this_session, _live, Session.authenticated_at > func.now() - bindparam("within", type_=Interval)
    ),
    parameters=Recent,
    row=lambda _: True,
)
