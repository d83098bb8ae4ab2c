"""Permissions: what a role allows its users, and what a service key allows its service (its scopes)."""

import re
from collections.abc import Sequence
from typing import Protocol

from auth_service.described_enum import DescribedEnum
from auth_service.models.role import PORTAL_ADMIN

PERMISSION_FORM = re.compile(r"[a-z][a-z0-9_]{0,31}:[a-z][a-z0-9_]{0,31}", re.ASCII)
"""The syntax `noun:verb` of a permission."""


class Permission(DescribedEnum):
    """The built-in permissions, which guard the endpoints of this service. A portal may define others for itself."""

    USERS_READ = "users:read", "Find users and read their accounts and sessions."
    USERS_WRITE = "users:write", "Revoke the sessions of users, force a password reset, reset a second factor."
    USERS_BAN = "users:ban", "Ban users and lift bans."
    USERS_DELETE = "users:delete", "Delete users."
    USERS_INVITE = "users:invite", "Invite people, and list and revoke invitations."
    ROLES_READ = "roles:read", "Read roles, permissions and the roles of users."
    ROLES_WRITE = "roles:write", "Create, change and delete roles."
    ROLES_GRANT = "roles:grant", "Grant roles to users and revoke them."
    AUDIT_READ = "audit:read", "Read and export the audit log."
    WEBHOOKS_READ = "webhooks:read", "Read webhook endpoints and deliveries."
    WEBHOOKS_WRITE = "webhooks:write", "Create, change and delete webhook endpoints."
    MAIL_READ = "mail:read", "Read the state of the email outbox, without message contents."
    MAIL_WRITE = "mail:write", "Retry emails that could not be sent."


BUILT_IN = frozenset(permission.value for permission in Permission)


def is_permission(name: str) -> bool:
    """Whether this is a built-in permission, or a name that a portal may define."""
    return name in BUILT_IN or is_portal_permission(name)


def is_portal_permission(name: str) -> bool:
    """Whether a portal may define a permission with this name."""
    return bool(PERMISSION_FORM.fullmatch(name)) and name.partition(":")[0] not in RESERVED_NOUNS


class RolesAndPermissions(Protocol):
    """A user with roles, and the permissions of these roles."""

    @property
    def roles(self) -> Sequence[str]:
        """The names of the roles."""
        ...

    @property
    def permissions(self) -> Sequence[str]:
        """The permissions of the roles."""
        ...


def has_permission(permission: str, *, of: RolesAndPermissions) -> bool:
    """Whether a user has a permission. Administrators have every one, also those that no role has yet."""
    return permission in of.permissions or PORTAL_ADMIN in of.roles


SERVICE_ONLY_NOUNS = ("tokens", "sessions", "registration")
"""First words of scopes that only a service key can have."""
RESERVED_NOUNS = frozenset(permission.partition(":")[0] for permission in Permission) | frozenset(SERVICE_ONLY_NOUNS)
"""First words that a permission of a portal must not have: a later release may define permissions with them."""
