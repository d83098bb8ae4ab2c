"""Factories of authorization: roles, administrators."""

from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.roles import Roles
from auth_service.services.email import addresses
from auth_service.wiring.shared import Shared


def administrators(shared: Shared) -> Administrators:
    """Build the guard of the number of administrators."""
    first = shared.settings.first_administrator
    return Administrators(
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        first=None if first is None else addresses.parse(first),
    )


def roles(shared: Shared, administrators: Administrators) -> Roles:
    """Build the roles and their grants."""
    return Roles(
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        administrators=administrators,
        cursors=shared.cursors,
    )
