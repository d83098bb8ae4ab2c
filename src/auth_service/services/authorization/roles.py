"""Roles: list, create, change, delete; grant to users and revoke, without privilege escalation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auth_service.db import fetch_all, fetch_one, transaction
from auth_service.errors import (
    BeyondYourOwn,
    LimitReached,
    MailNotConfirmed,
    RoleInUse,
    RoleIsSystem,
    RoleTaken,
    RoleUnknown,
    UserUnknown,
)
from auth_service.models import PORTAL_ADMIN, REGISTRATION_ROLES
from auth_service.models.audit_event import EventType
from auth_service.models.permission import Permission, RolesAndPermissions, has_permission
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.authorization import statements as sql
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.statements import RoleRecord, UserPermissions, UserRoles, UserWithRoles
from auth_service.services.caller import Caller, CallerType
from auth_service.services.pagination import Cursors, Page
from auth_service.services.users.security_notifications import SecurityNotifications

MAX_ROLES = 200
MAX_PERMISSIONS = 100
"""Of one role."""
MAX_ROLES_OF_USER = 20


@dataclass(frozen=True, slots=True)
class PermissionInfo:
    """A permission that roles can have."""

    name: str
    description: str | None
    system: bool
    """Whether it is built in."""


@dataclass(frozen=True, slots=True)
class PermissionCheck(UserRoles):
    """The roles of a user, and whether they have a permission; None if the request names none."""

    allowed: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """Roles and their users.

    A caller can only grant, revoke or change what the caller has: otherwise a user with `roles:grant` alone could
    become administrator. Locks are taken in the order administrators, roles, user, role.
    """

    audit_log: AuditLog
    security_notifications: SecurityNotifications
    administrators: Administrators
    cursors: Cursors

    def page(self, *, caller: Caller, cursor: str | None, limit: int) -> Page[RoleRecord]:
        """Return a page of the roles, ordered by name. Raises ValidationFailed for a wrong cursor."""
        after = "" if cursor is None else self.cursors.position(cursor, of="roles", owner=caller.subject)
        rows = fetch_all(sql.PAGE({"after": after, "at_most": limit + 1}))
        return self.cursors.page(rows, limit=limit, of="roles", owner=caller.subject, position=lambda role: role.name)

    def by_name(self, name: str) -> RoleRecord:
        """Return a role. Raises RoleUnknown."""
        role = fetch_one(sql.BY_NAME({"name": name}))
        if role is None:
            raise RoleUnknown
        return role

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that no role has."""
        return [name for name in sorted(names) if fetch_one(sql.BY_NAME({"name": name})) is None]

    def permissions(self) -> list[PermissionInfo]:
        """Return the built-in permissions, and those that roles of the portal have."""
        built_in = {permission.value: permission.description for permission in Permission}
        names = sorted({*built_in, *fetch_all(sql.PERMISSIONS({}))})
        return [PermissionInfo(name, built_in.get(name), name in built_in) for name in names]

    def create(
        self, name: str, *, description: str | None, permissions: Iterable[str], caller: Caller, client: ClientInfo
    ) -> RoleRecord:
        """Create a role. Raises BeyondYourOwn, RoleTaken, LimitReached."""
        new_permissions = _bounded(permissions)
        caller.require_all(new_permissions)
        transaction().write(sql.LOCK_ROLES({}))
        if (transaction().fetch_one(sql.COUNT_ROLES({})) or 0) >= MAX_ROLES:
            raise LimitReached(limit=MAX_ROLES)
        if transaction().fetch_one(sql.CREATE({"name": name, "description": description})) is None:
            raise RoleTaken
        self._set_permissions(name, new_permissions)
        role = RoleRecord(name, description, new_permissions, system=False)
        self._record(EventType.ROLE_CREATED, name, caller, client, _changes(RoleRecord(name, None, [], False), role))
        return role

    def change(
        self,
        name: str,
        *,
        description: str | None,
        permissions: Iterable[str] | None,
        caller: Caller,
        client: ClientInfo,
    ) -> RoleRecord:
        """Change the description or the permissions of a role; None keeps them.

        Raises RoleUnknown, RoleIsSystem, BeyondYourOwn, LimitReached.
        """
        new_permissions = None if permissions is None else _bounded(permissions)
        transaction().write(sql.LOCK_ROLES({}))
        before = self._lock_changeable(name, caller)
        caller.require_all(new_permissions or ())
        after = _replaced(before, description=description, permissions=new_permissions)
        if after == before:
            return before
        transaction().write(sql.SET_DESCRIPTION({"name": name, "description": after.description}))
        self._set_permissions(name, after.permissions)
        self._record(EventType.ROLE_CHANGED, name, caller, client, _changes(before, after))
        return after

    def delete(self, name: str, *, caller: Caller, client: ClientInfo) -> None:
        """Delete a role that no user has. Raises RoleUnknown, RoleIsSystem, BeyondYourOwn, RoleInUse."""
        transaction().write(sql.LOCK_ROLES({}))
        before = self._lock_changeable(name, caller)
        users = transaction().fetch_one(sql.COUNT_USERS({"name": name})) or 0
        if users:
            raise RoleInUse(users=users)
        transaction().write(sql.DELETE({"name": name}))
        transaction().write(sql.REMOVE_UNUSED_PERMISSIONS({}))
        self._record(EventType.ROLE_DELETED, name, caller, client, _changes(before, RoleRecord(name, None, [], False)))

    def of_user(self, user_id: int) -> UserPermissions:
        """Return the roles of a user and their permissions. Raises UserUnknown."""
        user = fetch_one(sql.OF_USER({"user_id": user_id}))
        if user is None:
            raise UserUnknown
        return user

    def user(self, user_id: int) -> UserWithRoles:
        """Return a user with the roles. Raises UserUnknown."""
        user = fetch_one(sql.USER({"user_id": user_id}))
        if user is None:
            raise UserUnknown
        return user

    def grant(self, user_id: int, name: str, *, caller: Caller, client: ClientInfo) -> UserRoles:
        """Grant a role to a user; idempotent.

        Raises UserUnknown, RoleUnknown, RoleIsSystem, MailNotConfirmed for a temporary user, BeyondYourOwn,
        LimitReached.
        """
        target = self._lock_user_and_role(user_id, name, caller)
        if not target.verified_mail:
            raise MailNotConfirmed
        roles = target.roles or ()
        if name in roles:
            return UserRoles(user_id, roles)
        if len(roles) >= MAX_ROLES_OF_USER:
            raise LimitReached(limit=MAX_ROLES_OF_USER)
        transaction().fetch_one(sql.GRANT({"user_id": user_id, "name": name}))
        self._notify(EventType.ROLE_GRANTED, user_id, name, caller, client)
        return UserRoles(user_id, sorted((*roles, name)))

    def revoke(
        self, user_id: int, name: str, *, caller: Caller, client: ClientInfo, leave_none: bool = False
    ) -> UserRoles:
        """Revoke a role from a user; idempotent. `leave_none` allows to revoke the role of the last administrator.

        Raises UserUnknown, RoleUnknown, RoleIsSystem, BeyondYourOwn, LastAdministrator.
        """
        roles = self._lock_user_and_role(user_id, name, caller).roles or ()
        if name not in roles:
            return UserRoles(user_id, roles)
        if name == PORTAL_ADMIN and not leave_none:
            self.administrators.require_another_than(user_id)
        transaction().fetch_one(sql.REVOKE({"user_id": user_id, "name": name}))
        self._notify(EventType.ROLE_WITHDRAWN, user_id, name, caller, client)
        return UserRoles(user_id, [role for role in roles if role != name])

    def grantable(self, names: Iterable[str], *, caller: Caller) -> list[str]:
        """Return the names of roles in order, if the caller may grant all of them to a new user.

        Raises LimitReached, RoleIsSystem, BeyondYourOwn, RoleUnknown.
        """
        unique = sorted(set(names))
        if len(unique) >= MAX_ROLES_OF_USER:  # ROLE_PORTAL_USER is one more
            raise LimitReached(limit=MAX_ROLES_OF_USER - 1)
        for name in unique:
            _require_assignable(name, caller)
            caller.require_all(self.by_name(name).permissions)
        return unique

    def grant_invited(
        self, user_id: int, names: Iterable[str], *, inviter: Caller | None, client: ClientInfo
    ) -> list[str]:
        """Grant those of the roles that the inviter may still grant; return their names.

        To be called after the user was locked, and with the lock of the administrators for `ROLE_PORTAL_ADMIN`. The
        user has just accepted the roles, so only the administrators are notified.
        """
        granted = [name for name in names if inviter is not None and self._may_grant(name, inviter)]
        for name in granted:
            transaction().write(sql.GRANT({"user_id": user_id, "name": name}))
            self.audit_log.record(
                EventType.ROLE_GRANTED,
                user_id=user_id,
                client=client,
                actor=inviter,
                changes={"role": [None, name]},
                role=name,
            )
        if PORTAL_ADMIN in granted:
            self.administrators.notify_all(user_id=user_id, client=client, granted=True)
        return granted

    def _may_grant(self, name: str, caller: Caller) -> bool:
        role = transaction().fetch_one(sql.LOCK_ROLE_SHARED({"name": name}))
        return role is not None and _is_assignable_by(caller, name) and caller.has_all(role.permissions)

    def _lock_user_and_role(self, user_id: int, name: str, caller: Caller) -> sql.GrantTarget:
        _require_assignable(name, caller)
        if name == PORTAL_ADMIN:
            self.administrators.lock()
        transaction().write(sql.LOCK_USER({"user_id": user_id}))
        target = transaction().fetch_one(sql.GRANT_TARGET({"user_id": user_id}))
        if target is None:
            raise UserUnknown
        role = transaction().fetch_one(sql.LOCK_ROLE_SHARED({"name": name}))
        if role is None:
            raise RoleUnknown
        caller.require_all(role.permissions)
        return target

    def _lock_changeable(self, name: str, caller: Caller) -> RoleRecord:
        role = transaction().fetch_one(sql.LOCK_ROLE({"name": name}))
        if role is None:
            raise RoleUnknown
        if role.system:
            raise RoleIsSystem
        caller.require_all(role.permissions)
        return role

    def _set_permissions(self, name: str, permissions: Sequence[str]) -> None:
        parameters: sql.RolePermissions = {"name": name, "permissions": list(permissions)}
        transaction().write(sql.REMOVE_OTHER_PERMISSIONS(parameters))
        transaction().write(sql.ADD_PERMISSIONS(parameters))
        transaction().write(sql.GRANT_ALL_TO_ADMINISTRATORS({}))
        transaction().write(sql.REMOVE_UNUSED_PERMISSIONS({}))

    def _notify(self, kind: EventType, user_id: int, name: str, caller: Caller, client: ClientInfo) -> None:
        granted = kind is EventType.ROLE_GRANTED
        changes = {"role": [None, name] if granted else [name, None]}
        self.audit_log.record(kind, user_id=user_id, client=client, actor=caller, changes=changes, role=name)
        self.security_notifications.send("role_changed", user_id=user_id, client=client, role=name, granted=granted)
        if name == PORTAL_ADMIN:
            self.administrators.notify_all(user_id=user_id, client=client, granted=granted)

    def _record(
        self, kind: EventType, name: str, caller: Caller, client: ClientInfo, changes: dict[str, list[object]]
    ) -> None:
        self.audit_log.record(kind, user_id=None, client=client, actor=caller, target=("role", name), changes=changes)


def check(user_id: int, *, of: RolesAndPermissions, permission: str | None) -> PermissionCheck:
    """Return the roles of a user, and whether they have the permission."""
    return PermissionCheck(user_id, of.roles, None if permission is None else has_permission(permission, of=of))


def _is_assignable_by(caller: Caller, name: str) -> bool:
    return name != PORTAL_ADMIN or caller.type is not CallerType.SERVICE  # a leaked key must not create administrators


def _require_assignable(name: str, caller: Caller) -> None:
    if name in REGISTRATION_ROLES:
        raise RoleIsSystem
    if not _is_assignable_by(caller, name):
        raise BeyondYourOwn


def _bounded(permissions: Iterable[str]) -> list[str]:
    unique = sorted(set(permissions))
    if len(unique) > MAX_PERMISSIONS:
        raise LimitReached(limit=MAX_PERMISSIONS)
    return unique


def _replaced(role: RoleRecord, *, description: str | None, permissions: Sequence[str] | None) -> RoleRecord:
    return RoleRecord(
        name=role.name,
        description=role.description if description is None else description,
        permissions=role.permissions if permissions is None else permissions,
        system=role.system,
    )


def _changes(before: RoleRecord, after: RoleRecord) -> dict[str, list[object]]:
    pairs: dict[str, list[object]] = {
        "description": [before.description, after.description],
        "permissions": [list(before.permissions), list(after.permissions)],
    }
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}
