"""The floor that keeps: PostgreSQL through SQLAlchemy."""

from auth_service.models.base import Base, db
from auth_service.models.letter import Letter
from auth_service.models.role import PORTAL_USER, REGISTRATION_ROLES, TEMPORARY_USER, Role, UserRole
from auth_service.models.user import User
from auth_service.models.work import reading, unit_of_work, writing

__all__ = [
    "PORTAL_USER",
    "REGISTRATION_ROLES",
    "TEMPORARY_USER",
    "Base",
    "Letter",
    "Role",
    "User",
    "UserRole",
    "db",
    "reading",
    "unit_of_work",
    "writing",
]
