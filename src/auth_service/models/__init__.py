"""Database tables as SQLAlchemy models."""

from auth_service.models.account_change import PendingEmailChange, RevertLink
from auth_service.models.audit_event import Event, FailureSlot
from auth_service.models.audit_seal import AuditSeal, ForgottenEvent
from auth_service.models.idempotency_key import IdempotencyKey
from auth_service.models.invitation import Invitation
from auth_service.models.outbox_message import OutboxMessage
from auth_service.models.passkey import Passkey
from auth_service.models.role import (
    PORTAL_ADMIN,
    PORTAL_USER,
    REGISTRATION_ROLES,
    TEMPORARY_USER,
    Role,
    RolePermission,
    UserRole,
)
from auth_service.models.second_factor import DelayedReset, RecoveryCode, SecondFactor
from auth_service.models.service_key import ServiceKey
from auth_service.models.session import Session
from auth_service.models.signing_key import SigningKey
from auth_service.models.user import User

__all__ = [
    "PORTAL_ADMIN",
    "PORTAL_USER",
    "REGISTRATION_ROLES",
    "TEMPORARY_USER",
    "AuditSeal",
    "DelayedReset",
    "Event",
    "FailureSlot",
    "ForgottenEvent",
    "IdempotencyKey",
    "Invitation",
    "OutboxMessage",
    "Passkey",
    "PendingEmailChange",
    "RecoveryCode",
    "RevertLink",
    "Role",
    "RolePermission",
    "SecondFactor",
    "ServiceKey",
    "Session",
    "SigningKey",
    "User",
    "UserRole",
]
