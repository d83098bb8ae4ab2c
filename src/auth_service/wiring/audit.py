"""Factory of the audit log."""

from dataclasses import replace

from auth_service.adapters.redis.rate_limiter import RateLimiter
from auth_service.services.audit.events import AuditLog
from auth_service.services.pagination import Cursors
from auth_service.settings import Settings


def audit_log(settings: Settings, cursors: Cursors, limiter: RateLimiter) -> AuditLog:
    """Build the audit log. Its cap of failures holds with `RATE_LIMITS=off` too, because it protects the disk."""
    return AuditLog(
        failures_a_day=settings.history_failures_a_day, cursors=cursors, limiter=replace(limiter, enabled=True)
    )
