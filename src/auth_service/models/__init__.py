"""The floor that keeps: PostgreSQL through SQLAlchemy."""

from auth_service.models.account import EmailChange, Undo
from auth_service.models.base import Base, db
from auth_service.models.event import Event
from auth_service.models.letter import Letter
from auth_service.models.prepared import Prepared
from auth_service.models.role import PORTAL_USER, REGISTRATION_ROLES, TEMPORARY_USER, Role, UserRole
from auth_service.models.service_key import ServiceKey
from auth_service.models.session import Session
from auth_service.models.signing_key import SigningKey
from auth_service.models.user import User
from auth_service.models.work import read_at_once, reading, unit_of_work, writing, written_at_once

__all__ = [
    "PORTAL_USER",
    "REGISTRATION_ROLES",
    "TEMPORARY_USER",
    "Base",
    "EmailChange",
    "Event",
    "Letter",
    "Prepared",
    "Role",
    "ServiceKey",
    "Session",
    "SigningKey",
    "Undo",
    "User",
    "UserRole",
    "db",
    "read_at_once",
    "reading",
    "unit_of_work",
    "writing",
    "written_at_once",
]
