"""The floor that keeps: PostgreSQL through SQLAlchemy."""

from auth_service.models.account import EmailChange, Undo
from auth_service.models.base import Base, db
from auth_service.models.event import Event
from auth_service.models.letter import Letter
from auth_service.models.prepared import NoParameters, Statement, Write
from auth_service.models.role import PORTAL_USER, REGISTRATION_ROLES, TEMPORARY_USER, Role, UserRole
from auth_service.models.service_key import ServiceKey
from auth_service.models.session import Session
from auth_service.models.signing_key import SigningKey
from auth_service.models.transaction import (
    Transaction,
    UniqueViolation,
    autocommit,
    fetch_one,
    transaction,
    unit_of_work,
)
from auth_service.models.user import User

__all__ = [
    "PORTAL_USER",
    "REGISTRATION_ROLES",
    "TEMPORARY_USER",
    "Base",
    "EmailChange",
    "Event",
    "Letter",
    "NoParameters",
    "Role",
    "ServiceKey",
    "Session",
    "SigningKey",
    "Statement",
    "Transaction",
    "Undo",
    "UniqueViolation",
    "User",
    "UserRole",
    "Write",
    "autocommit",
    "db",
    "fetch_one",
    "transaction",
    "unit_of_work",
]
