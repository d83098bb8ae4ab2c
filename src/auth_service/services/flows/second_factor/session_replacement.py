"""Replacement of a session after a stronger or newer authentication: a stolen token never becomes recent."""

from auth_service.errors import AccountChanged, CredentialsRejected, TokenInvalid
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import ClientInfo
from auth_service.services.flows.email_change import keep_pending_change
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.sessions.sessions import CurrentUser, Sessions, Tokens
from auth_service.services.users.statements import UserRecord


def replace_session(
    sessions: Sessions,
    current_user: CurrentUser,
    user: UserRecord,
    *,
    method: str,
    amr: list[str],
    client: ClientInfo,
) -> Tokens:
    """Open a session in place of the current one, with its end, its transport and its pending email change.

    Of concurrent replacements of one session the first revokes it and succeeds. Raises AccountChanged if the account
    has changed since `user` was read, TokenInvalid if a concurrent request has ended the current session.
    """
    old = current_user.session_id
    # Opening the new session locks the user, revoking the old one locks the session: the lock order of all flows.
    try:
        tokens = sessions.open(
            user,
            method=method,
            amr=amr,
            transport=current_user.transport,
            client=client,
            kind=EventType.REAUTHENTICATED,
            until=current_user.session_expires_at,
        )
    except CredentialsRejected:
        raise AccountChanged from None
    keep_pending_change(old=old, new=tokens.session_id)
    if not revoke_sessions(current_user.id, only=old, reason="reauthenticated", client=client):
        raise TokenInvalid
    return tokens
