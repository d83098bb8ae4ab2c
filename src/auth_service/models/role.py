"""Roles, and who has them."""

from sqlalchemy import CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

TEMPORARY_USER = "ROLE_TEMPORARY_USER"
PORTAL_USER = "ROLE_PORTAL_USER"
REGISTRATION_ROLES = (TEMPORARY_USER, PORTAL_USER)
"""The roles that the registration gives; a stranger who looks somebody up sees no others."""


class Role(Base):
    """A role that can be given; its name is its key, so that reading somebody's roles needs no join."""

    __tablename__ = "roles"
    __table_args__ = (CheckConstraint(r"name ~ '^ROLE_[A-Z0-9_]{1,59}$'", name="name_form"),)

    name: Mapped[str] = mapped_column(Text, primary_key=True)


class UserRole(Base):
    """One user has one role."""

    __tablename__ = "user_roles"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(ForeignKey("roles.name", ondelete="RESTRICT"), primary_key=True, index=True)
