"""Factories of authorization: roles, administrators."""

from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.roles import Roles
from auth_service.services.email import addresses
from auth_service.services.email.addresses import Address
from auth_service.settings import SettingsRefused
from auth_service.wiring.shared import Shared


def administrators(shared: Shared) -> Administrators:
    """Build the guard of the number of administrators. Raises SettingsRefused for an invalid FIRST_ADMINISTRATOR."""
    return Administrators(
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        first=_address_or_none(shared.settings.first_administrator),
    )


def _address_or_none(text: str | None) -> Address | None:
    if text is None:
        return None
    try:
        return addresses.parse(text)
    except ValueError:  # not quoted: the message may repeat the value
        raise SettingsRefused("FIRST_ADMINISTRATOR: must be one email address, such as ops@example.org") from None


def roles(shared: Shared, administrators: Administrators) -> Roles:
    """Build the roles and their grants."""
    return Roles(
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        administrators=administrators,
        cursors=shared.cursors,
    )
