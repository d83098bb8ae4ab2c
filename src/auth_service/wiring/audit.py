"""Factory of the audit log."""

from auth_service.services.audit.events import AuditLog
from auth_service.services.pagination import Cursors
from auth_service.settings import Settings


def audit_log(settings: Settings, cursors: Cursors) -> AuditLog:
    """Build the log of security events."""
    return AuditLog(failures_a_day=settings.history_failures_a_day, cursors=cursors)
