"""SQL statements of the user search of administrators, with their typed parameters and rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from auth_service.db import NoParameters, Statement, Write
from auth_service.models import Session, User, UserRole
from auth_service.models.user import UserStatus
from auth_service.services.credentials.second_factors import passkey_count, recovery_codes_left, totp_is_on
from auth_service.services.users.statements import ById

# Statements are built at import: building one costs about as much as running it.

BEFORE_FIRST_PAGE = ("infinity", 0)
"""The position before the newest user."""


class UserConditions(TypedDict):
    """Parameters of a search; each is None if it does not restrict the search."""

    email_key: str | None
    key_pattern: str | None
    """A pattern of LIKE for the normalised address."""
    status: str | None


class UserPage(UserConditions):
    """Parameters of the users that a search finds after a position, newest first."""

    created_at: str
    id: int
    at_most: int


class UserPageOfRole(UserPage):
    """Parameters of the same, of the users who have a role."""

    role: str


class FoundUser(NamedTuple):
    """A user in the list of administrators."""

    id: int
    email: str
    status: str
    roles: Sequence[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Ban:
    """A ban that is in force; `until` is None for a ban without end."""

    until: datetime | None
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """The second factors of a user."""

    totp: bool
    passkeys: int
    recovery_codes_left: int


@dataclass(frozen=True, slots=True)
class UserDetails:
    """A user as administrators see it."""

    id: int
    email: str
    verified_mail: bool
    status: str
    roles: Sequence[str]
    language: str
    created_at: datetime
    last_seen_at: datetime | None
    """The last sign-in or token refresh; None if no record of a session is left."""
    password_set: bool
    sessions: int
    """How many sessions are active."""
    ban: Ban | None
    second_factor: SecondFactor
    # No table has these yet: the service offers no identity provider and no deletion grace period.
    identities: Sequence[str] = ()
    deletion_due_at: datetime | None = None


def _details(*columns: Any) -> UserDetails:
    *user, is_banned, until, reason, at, totp, passkeys, codes_left = columns
    ban = Ban(until, reason, at) if is_banned else None
    members = (*user, ban, SecondFactor(totp, passkeys, codes_left))
    return UserDetails(*members)


_roles = func.coalesce(
    select(func.array_agg(aggregate_order_by(UserRole.role, UserRole.role)))
    .where(UserRole.user_id == User.id)
    .correlate(User)
    .scalar_subquery(),
    literal_column("'{}'::text[]"),
)

_status: Any = bindparam("status", type_=Text)
_BY_STATUS = {
    UserStatus.ACTIVE: and_(User.verified_mail, ~User.is_banned()),
    UserStatus.TEMPORARY: and_(~User.verified_mail, ~User.is_banned()),
    UserStatus.BANNED: User.is_banned(),
}
"""No condition for `leaving`: no user has a deletion grace period yet."""


def _unless_null(parameter: Any, condition: Any) -> Any:
    return or_(parameter.is_(None), condition)


_email_key: Any = bindparam("email_key", type_=Text)
_key_pattern: Any = bindparam("key_pattern", type_=Text)
_conditions = and_(
    _unless_null(_email_key, User.email_key == _email_key),
    _unless_null(_key_pattern, User.email_key.like(_key_pattern)),
    _unless_null(
        _status,
        or_(
            *(and_(_status == literal_column(f"'{status}'"), condition) for status, condition in _BY_STATUS.items()),
        ),
    ),
)
_at_most = bindparam("at_most", type_=Integer)
_position = tuple_(User.created_at, User.id)
_older = _position < tuple_(bindparam("created_at", type_=DateTime(timezone=True)), bindparam("id", type_=BigInteger))
# Not a condition `role IS NULL OR EXISTS (…)`: PostgreSQL plans a subquery below OR for each user, and could not begin
# with the users of a role.
_role_of_user = and_(UserRole.user_id == User.id, UserRole.role == bindparam("role", type_=Text))


def _page(*joined: Any) -> Any:
    return (
        select(User.id, User.email, User.status(), _roles, User.created_at)
        .where(_conditions, _older, *joined)
        .order_by(User.created_at.desc(), User.id.desc())
        .limit(_at_most)
    )


def _count(*joined: Any) -> Any:
    # Counted from a position, too: without any condition on its columns PostgreSQL considers no index.
    found = select(User.id).where(_conditions, _older, *joined).limit(_at_most).subquery()
    return select(func.count()).select_from(found)


INDEXES_ONLY = Write(
    select(
        *(
            func.set_config(literal_column(f"'{name}'"), literal_column(f"'{value}'"), literal_column("true"))
            for name, value in {
                "enable_seqscan": "off",
                "enable_bitmapscan": "off",
                "enable_hashjoin": "off",
                "enable_mergejoin": "off",
                "max_parallel_workers_per_gather": "0",
                "jit": "off",
            }.items()
        )
    ),
    parameters=NoParameters,
    prepared=False,
)
"""Planner settings for the rest of the transaction: read along indexes and stop at the limit.

PostgreSQL assumes that the users who match are spread evenly over the table, and then prefers to read the table until
it has found enough. They are not: users of one company were often imported together.
"""

# Not prepared: PostgreSQL plans them with the values, leaves out the conditions whose parameter is null, and chooses
# the index by how many users a prefix, a status or a role has.
PAGE = Statement(_page(), parameters=UserPage, row=FoundUser, prepared=False)
PAGE_OF_ROLE = Statement(_page(_role_of_user), parameters=UserPageOfRole, row=FoundUser, prepared=False)
COUNT = Statement(_count(), parameters=UserPage, row=int, prepared=False)
COUNT_OF_ROLE = Statement(_count(_role_of_user), parameters=UserPageOfRole, row=int, prepared=False)

_sessions = select(func.count()).where(Session.user_id == User.id, Session.is_live()).correlate(User).scalar_subquery()
_last_seen_at = select(func.max(Session.refreshed_at)).where(Session.user_id == User.id).correlate(User)
DETAILS = Statement(
    select(
        User.id,
        User.email,
        User.verified_mail,
        User.status(),
        _roles,
        User.language,
        User.created_at,
        _last_seen_at.scalar_subquery(),
        User.password_hash.is_not(None),
        _sessions,
        User.is_banned(),
        User.ban_ends_at(),
        User.ban_reason,
        User.banned_at,
        totp_is_on(User.id),
        passkey_count,
        recovery_codes_left,
    ).where(User.id == bindparam("user_id")),
    parameters=ById,
    row=_details,
)
