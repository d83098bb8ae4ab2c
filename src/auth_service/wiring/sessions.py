"""Factories of the session services: sessions, the session list of a user, token introspection and revocation."""

from auth_service.adapters.crypto.access_tokens import AccessTokens
from auth_service.adapters.crypto.refresh_tokens import RefreshTokens
from auth_service.services.sessions.introspection import Introspection
from auth_service.services.sessions.my_sessions import MySessions
from auth_service.services.sessions.sessions import Sessions
from auth_service.services.sessions.token_revocation import TokenRevocation
from auth_service.services.sessions.user_sessions import UserSessions
from auth_service.wiring.shared import Shared


def sessions(shared: Shared) -> Sessions:
    """Build the service that opens, refreshes and revokes sessions."""
    settings = shared.settings
    return Sessions(
        signing_keys=shared.signing_keys,
        access_tokens=AccessTokens(
            issuer=settings.public_url, audience=settings.token_audience, lifetime=settings.access_token_seconds
        ),
        refresh_tokens=RefreshTokens(settings.secret("session_key")),
        security_notifications=shared.security_notifications,
        idle=settings.session_idle_seconds,
        absolute=settings.session_absolute_seconds,
        second_factor_roles=settings.second_factor_roles,
        grace=settings.refresh_grace_seconds,
    )


def my_sessions(shared: Shared) -> MySessions:
    """Build the session list of a user."""
    return MySessions(audit_log=shared.audit_log, cursors=shared.cursors)


def user_sessions(shared: Shared) -> UserSessions:
    """Build the session list of a user for administrators."""
    return UserSessions(users=shared.users, cursors=shared.cursors)


def introspection(sessions: Sessions) -> Introspection:
    """Build token introspection (RFC 7662)."""
    return Introspection(sessions=sessions)


def token_revocation(sessions: Sessions) -> TokenRevocation:
    """Build token revocation (RFC 7009)."""
    return TokenRevocation(sessions=sessions)
