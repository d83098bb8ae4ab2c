"""Factories of invitations and of their acceptance."""

from auth_service.adapters.crypto.keys import Digests
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.callers import CurrentCallers
from auth_service.services.authorization.roles import Roles
from auth_service.services.flows.invitations.acceptance import InvitationAcceptance
from auth_service.services.flows.invitations.invitations import Invitations
from auth_service.services.tokens.service_keys import ServiceKeys
from auth_service.wiring.shared import Shared


def invitations(shared: Shared, roles: Roles) -> Invitations:
    """Build the invitations, which administrators and services send."""
    settings = shared.settings
    return Invitations(
        users=shared.users,
        roles=roles,
        outbox=shared.outbox,
        limiter=shared.code_limiter,
        audit_log=shared.audit_log,
        cursors=shared.cursors,
        digests=_digests(shared),
        link_page=f"{settings.public_url}/account/invitation",
        ttl=settings.invitation_seconds,
        is_closed=settings.sign_up == "closed",
    )


def invitation_acceptance(
    shared: Shared, roles: Roles, administrators: Administrators, service_keys: ServiceKeys
) -> InvitationAcceptance:
    """Build the acceptance of invitations by the link of the email."""
    return InvitationAcceptance(
        users=shared.users,
        roles=roles,
        administrators=administrators,
        callers=CurrentCallers(service_keys=service_keys),
        passwords=shared.passwords,
        audit_log=shared.audit_log,
        digests=_digests(shared),
        is_closed=shared.settings.sign_up == "closed",
    )


def _digests(shared: Shared) -> Digests:
    return Digests(shared.settings.secret("session_key"), purpose="invitations")
