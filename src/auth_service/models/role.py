"""Roles and their users."""

from sqlalchemy import CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

TEMPORARY_USER = "ROLE_TEMPORARY_USER"
PORTAL_USER = "ROLE_PORTAL_USER"
REGISTRATION_ROLES = (TEMPORARY_USER, PORTAL_USER)
"""The roles that registration assigns. An unauthenticated look-up of a user shows no other roles."""


class Role(Base):
    """A role that users can have. Its name is its primary key, so reading the roles of a user needs no join."""

    __tablename__ = "roles"
    __table_args__ = (CheckConstraint(r"name ~ '^ROLE_[A-Z0-9_]{1,59}$'", name="name_form"),)

    name: Mapped[str] = mapped_column(Text, primary_key=True)


class UserRole(Base):
    """The assignment of a role to a user."""

    __tablename__ = "user_roles"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(ForeignKey("roles.name", ondelete="RESTRICT"), primary_key=True, index=True)
