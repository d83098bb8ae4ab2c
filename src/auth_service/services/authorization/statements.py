"""SQL statements about roles, permissions and administrators, with their typed parameters and rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    not_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from auth_service.db import NoParameters, Statement, Write
from auth_service.db.advisory_locks import Lock, transaction_lock
from auth_service.models import PORTAL_ADMIN, Role, RolePermission, User, UserRole
from auth_service.models.permission import Permission
from auth_service.services.sessions.statements import permissions_of
from auth_service.services.users.statements import ById

# Statements are built at import: building one costs about as much as running it.


class ByName(TypedDict):
    """Parameters of a statement about one role."""

    name: str


class RolePage(TypedDict):
    """Parameters of a page of roles, in the order of their names."""

    after: str
    at_most: int


class NewRole(ByName):
    """Parameters of a new role."""

    description: str | None


class RolePermissions(ByName):
    """Parameters of the permissions of a role."""

    permissions: Sequence[str]


class UserAndRole(ById, ByName):
    """Parameters of the grant or the revocation of a role."""


class RoleRecord(NamedTuple):
    """A role with its permissions, in alphabetical order."""

    name: str
    description: str | None
    permissions: Sequence[str]
    system: bool


class GrantTarget(NamedTuple):
    """A locked user, to whom a role is granted or from whom it is revoked."""

    verified_mail: bool
    roles: Sequence[str] | None


LOCK_ROLES = transaction_lock(Lock.ROLES)
LOCK_ADMINISTRATORS = transaction_lock(Lock.ADMINISTRATORS)

_NO_TEXTS: ColumnElement[list[str]] = literal_column("'{}'::text[]")
_name = bindparam("name", type_=Text)
_permissions_of_role = (
    select(
        func.coalesce(
            func.array_agg(aggregate_order_by(RolePermission.permission, RolePermission.permission)),
            _NO_TEXTS,
        )
    )
    .where(RolePermission.role == Role.name)
    .scalar_subquery()
)
_role = select(Role.name, Role.description, _permissions_of_role, Role.system)

PAGE = Statement(
    _role.where(Role.name > bindparam("after", type_=Text))
    .order_by(Role.name)
    .limit(bindparam("at_most", type_=Integer)),
    parameters=RolePage,
    row=RoleRecord,
)
BY_NAME = Statement(_role.where(Role.name == _name), parameters=ByName, row=RoleRecord)
LOCK_ROLE = Statement(
    _role.where(Role.name == _name).with_for_update(of=Role), parameters=ByName, row=RoleRecord, prepared=False
)
# A concurrent deletion of the role waits for this lock, and then finds the user who has got it.
LOCK_ROLE_SHARED = Statement(
    _role.where(Role.name == _name).with_for_update(of=Role, read=True, key_share=True),
    parameters=ByName,
    row=RoleRecord,
    prepared=False,
)
COUNT_ROLES = Statement(select(func.count()).select_from(Role), parameters=NoParameters, row=int, prepared=False)
COUNT_USERS = Statement(
    select(func.count()).select_from(UserRole).where(UserRole.role == _name),
    parameters=ByName,
    row=int,
    prepared=False,
)
CREATE = Statement(
    insert(Role)
    .values(name=_name, description=bindparam("description", type_=Text), system=False)
    .on_conflict_do_nothing()
    .returning(Role.name),
    parameters=NewRole,
    row=str,
    prepared=False,
)
SET_DESCRIPTION = Write(
    update(Role).where(Role.name == _name).values(description=bindparam("description", type_=Text)),
    parameters=NewRole,
    prepared=False,
)
DELETE = Write(delete(Role).where(Role.name == _name), parameters=ByName, prepared=False)


_permission: Any = func.unnest(bindparam("permissions", type_=ARRAY(Text))).column_valued("permission")
ADD_PERMISSIONS = Write(
    insert(RolePermission)
    .from_select(["role", "permission"], select(_name, _permission), include_defaults=False)
    .on_conflict_do_nothing(),
    parameters=RolePermissions,
    prepared=False,
)
REMOVE_OTHER_PERMISSIONS = Write(
    delete(RolePermission).where(
        RolePermission.role == _name,
        RolePermission.permission != func.all(bindparam("permissions", type_=ARRAY(Text))),
    ),
    parameters=RolePermissions,
    prepared=False,
)

GRANT_ALL_TO_ADMINISTRATORS = Write(
    insert(RolePermission)
    .from_select(
        ["role", "permission"],
        select(literal(PORTAL_ADMIN), RolePermission.permission).where(RolePermission.role != PORTAL_ADMIN).distinct(),
        include_defaults=False,
    )
    .on_conflict_do_nothing(),
    parameters=NoParameters,
    prepared=False,
)
"""`ROLE_PORTAL_ADMIN` gets each permission that another role has."""
_other = RolePermission.__table__.alias("other")
REMOVE_UNUSED_PERMISSIONS = Write(
    delete(RolePermission).where(
        RolePermission.role == PORTAL_ADMIN,
        and_(*(RolePermission.permission != permission.value for permission in Permission)),
        not_(
            select(literal(1))
            .where(_other.c.permission == RolePermission.permission, _other.c.role != PORTAL_ADMIN)
            .correlate(RolePermission)
            .exists()
        ),
    ),
    parameters=NoParameters,
    prepared=False,
)
"""A permission that a portal has defined ends with the last role that has it."""

PERMISSIONS = Statement(
    select(RolePermission.permission).where(RolePermission.role == PORTAL_ADMIN).order_by(RolePermission.permission),
    parameters=NoParameters,
    row=str,
)

_roles_of_user = (
    select(func.array_agg(aggregate_order_by(UserRole.role, UserRole.role)))
    .where(UserRole.user_id == User.id)
    .scalar_subquery()
)
LOCK_USER = Write(
    select(User.id).where(User.id == bindparam("user_id")).with_for_update(key_share=True),
    parameters=ById,
    prepared=False,
)
# A statement of its own: one that waits for the lock itself would read the roles as they were before it waited.
GRANT_TARGET = Statement(
    select(User.verified_mail, _roles_of_user).where(User.id == bindparam("user_id")),
    parameters=ById,
    row=GrantTarget,
    prepared=False,
)


@dataclass(frozen=True, slots=True)
class UserRoles:
    """The roles of a user."""

    user_id: int
    roles: Sequence[str]


@dataclass(frozen=True, slots=True)
class UserPermissions(UserRoles):
    """The roles of a user, and the permissions of these roles."""

    permissions: Sequence[str]


def _user_permissions(user_id: int, roles: Sequence[str] | None, permissions: Sequence[str] | None) -> UserPermissions:
    return UserPermissions(user_id, roles or (), sorted(permissions or ()))


class UserWithRoles(NamedTuple):
    """A user with the roles, for other services."""

    id: int
    email: str
    verified_mail: bool
    registered_on: datetime
    roles: Sequence[str]


USER = Statement(
    select(User.id, User.email, User.verified_mail, User.created_at, func.coalesce(_roles_of_user, _NO_TEXTS)).where(
        User.id == bindparam("user_id")
    ),
    parameters=ById,
    row=UserWithRoles,
)
OF_USER = Statement(
    select(User.id, _roles_of_user, permissions_of(User.id)).where(User.id == bindparam("user_id")),
    parameters=ById,
    row=_user_permissions,
)
GRANT = Statement(
    insert(UserRole)
    .values(user_id=bindparam("user_id"), role=_name)
    .on_conflict_do_nothing()
    .returning(UserRole.user_id),
    parameters=UserAndRole,
    row=int,
    prepared=False,
)
REVOKE = Statement(
    delete(UserRole)
    .where(UserRole.user_id == bindparam("user_id"), UserRole.role == _name)
    .returning(UserRole.user_id),
    parameters=UserAndRole,
    row=int,
    prepared=False,
)

ADMINISTRATORS = Statement(
    select(User.id)
    .join(UserRole, UserRole.user_id == User.id)
    .where(UserRole.role == PORTAL_ADMIN, User.verified_mail, ~User.is_banned())
    .order_by(User.id),
    parameters=NoParameters,
    row=int,
    prepared=False,
)
"""The ids of the administrators who can sign in: verified and not banned."""
