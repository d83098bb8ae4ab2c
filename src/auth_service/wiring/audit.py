"""Factories of the audit log, and of its search and export."""

from dataclasses import replace

from auth_service.adapters.redis.rate_limiter import RateLimiter
from auth_service.services.audit.events import AuditLog
from auth_service.services.audit.export import AuditExport
from auth_service.services.audit.seals import AuditSealing
from auth_service.services.audit.search import AuditSearch
from auth_service.services.pagination import Cursors
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.settings import Settings


def audit_log(settings: Settings, cursors: Cursors, limiter: RateLimiter) -> AuditLog:
    """Build the audit log. Its cap of failures holds with `RATE_LIMITS=off` too, because it protects the disk."""
    return AuditLog(
        failures_a_day=settings.history_failures_a_day, cursors=cursors, limiter=replace(limiter, enabled=True)
    )


def audit_search(cursors: Cursors) -> AuditSearch:
    """Build the search of the audit log."""
    return AuditSearch(cursors=cursors)


def audit_export(search: AuditSearch, audit_log: AuditLog) -> AuditExport:
    """Build the export of the audit log."""
    return AuditExport(search=search, audit_log=audit_log)


def audit_sealing(settings: Settings, signing_keys: SigningKeys) -> AuditSealing:
    """Build the sealing of the audit log."""
    return AuditSealing(
        signing_keys=signing_keys.for_signing, issuer=settings.public_url, database_url=settings.database_url or ""
    )
