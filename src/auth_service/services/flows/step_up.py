"""Step-up authentication (RFC 9470): a signed-in user authenticates again, and a new session replaces the old one."""

from dataclasses import dataclass

from auth_service.errors import AccountChanged, CredentialsRejected, TokenInvalid
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import ClientInfo
from auth_service.services.credentials.one_time_codes import CodeSent, OneTimeCodes
from auth_service.services.flows.email_change import keep_pending_change
from auth_service.services.flows.reauthentication import Reauthentication, send_session_code
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.sessions.sessions import CurrentUser, Sessions, Tokens
from auth_service.services.users.recipients import recipient
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import Users

PURPOSE = "reauthentication"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepUp:
    """Reauthentication with a new session: a token that was stolen earlier never becomes recent (ASVS 7.2.4)."""

    users: Users
    reauthentication: Reauthentication
    codes: OneTimeCodes
    sessions: Sessions

    def send_code(self, current_user: CurrentUser, *, network: str) -> CodeSent:
        """Send a code for this session. Raises TooManyCodes, RedisUnavailable."""
        return send_session_code(current_user, users=self.users, codes=self.codes, network=network)

    def by_password(self, current_user: CurrentUser, password: str, *, client: ClientInfo) -> Tokens:
        """Reauthenticate with the password.

        Raises PasswordNotSet, TooManyAttempts, PasswordWrong, AccountChanged, TokenInvalid, ServiceBusy.
        """
        user = self.users.signed_in_user(current_user.id)
        self.reauthentication.verify_password(user, password, purpose=PURPOSE, client=client)
        return self._replace(current_user, user, method="password", client=client)

    def by_code(self, current_user: CurrentUser, code: str, *, client: ClientInfo) -> Tokens:
        """Reauthenticate with a code that was emailed for this session.

        Raises CodeWrong, CodeExpired, AccountChanged, TokenInvalid, RedisUnavailable.
        """
        user = self.users.signed_in_user(current_user.id)
        to = recipient(user, address=user.address, session_id=current_user.session_id)
        self.reauthentication.verify_code(
            code, codes=self.codes, to=to, current_user=current_user, purpose=PURPOSE, client=client
        )
        return self._replace(current_user, user, method="code", client=client)

    def _replace(self, current_user: CurrentUser, user: UserRecord, *, method: str, client: ClientInfo) -> Tokens:
        """Replace the session. Of concurrent reauthentications of one session the first revokes it and succeeds."""
        old = current_user.session_id
        # Opening the new session locks the user, revoking the old one locks the session: the lock order of all flows.
        try:
            tokens = self.sessions.open(
                user,
                method=method,
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
