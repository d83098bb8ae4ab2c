"""Roles: groups of permissions that are granted to users."""

import re

from sqlalchemy import CheckConstraint, ForeignKey, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

TEMPORARY_USER = "ROLE_TEMPORARY_USER"
PORTAL_USER = "ROLE_PORTAL_USER"
PORTAL_ADMIN = "ROLE_PORTAL_ADMIN"
REGISTRATION_ROLES = (TEMPORARY_USER, PORTAL_USER)
"""The roles that registration assigns. An unauthenticated look-up of a user shows no other roles."""


ROLE_NAME = re.compile("ROLE_[A-Z0-9_]{1,59}", re.ASCII)


class Role(Base):
    """A role that users can have. Its name is its primary key, so reading the roles of a user needs no join."""

    __tablename__ = "roles"
    __table_args__ = (CheckConstraint(r"name ~ '^ROLE_[A-Z0-9_]{1,59}$'", name="name_form"),)

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    description: Mapped[str | None] = mapped_column(Text)
    system: Mapped[bool] = mapped_column(server_default=false())
    """Whether the service itself needs the role: it can be neither changed nor deleted."""


class RolePermission(Base):
    """A permission of a role.

    `ROLE_PORTAL_ADMIN` has a row for every permission of any role, so that no query needs an exception for it.
    """

    __tablename__ = "role_permissions"
    __table_args__ = (
        CheckConstraint("permission ~ '^[a-z][a-z0-9_]{0,31}:[a-z][a-z0-9_]{0,31}$'", name="permission_form"),
    )

    role: Mapped[str] = mapped_column(ForeignKey("roles.name", ondelete="CASCADE"), primary_key=True)
    permission: Mapped[str] = mapped_column(Text, primary_key=True, index=True)


class UserRole(Base):
    """The assignment of a role to a user."""

    __tablename__ = "user_roles"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(ForeignKey("roles.name", ondelete="RESTRICT"), primary_key=True, index=True)
