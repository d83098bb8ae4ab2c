"""Reauthentication with a passkey (step-up): a new `aal2` session replaces the current one."""

from dataclasses import dataclass

from auth_service.adapters.crypto.flow_tickets import FlowTicket, TicketPurpose
from auth_service.adapters.crypto.webauthn import AuthenticationResponse
from auth_service.errors import PasskeyRejected
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.passkeys import METHOD, PasskeyChallenge, Passkeys
from auth_service.services.flows.second_factor.passkey_verification import PasskeyVerification
from auth_service.services.flows.second_factor.session_replacement import replace_session
from auth_service.services.sessions.sessions import CurrentUser, Sessions, Tokens
from auth_service.services.users.users import Users

PURPOSE = "reauthentication"


@dataclass(frozen=True, kw_only=True, slots=True)
class PasskeyReauthentication:
    """Verifies a passkey of the current user, and replaces the session, which consumes the ticket."""

    users: Users
    passkeys: Passkeys
    verification: PasskeyVerification
    audit_log: AuditLog
    sessions: Sessions

    def options(self, current_user: CurrentUser) -> PasskeyChallenge:
        """Return the options of an authentication with one of the passkeys of the current user, for this session."""
        ticket = FlowTicket(
            purpose=TicketPurpose.PASSKEY_REAUTHENTICATION,
            transport=current_user.transport,
            user_id=current_user.id,
            session_id=current_user.session_id,
        )
        return self.passkeys.request_challenge(ticket, allow=self.passkeys.of_user(current_user.id))

    def complete(
        self, current_user: CurrentUser, response: AuthenticationResponse, *, ticket: str | None, client: ClientInfo
    ) -> Tokens:
        """Reauthenticate with a passkey.

        Raises PasskeyRejected, also for a passkey of another user and for a ticket of another session; AccountChanged,
        TokenInvalid.
        """
        self.sessions.prepare()
        opened = self.passkeys.opened(ticket, purpose=TicketPurpose.PASSKEY_REAUTHENTICATION)
        if opened is not None and opened.session_id != current_user.session_id:
            opened = None
        try:
            passkey = self.verification.own_passkey(response, user_id=current_user.id)
            amr = self.verification.verify(passkey, response, ticket=opened, client=client)
        except PasskeyRejected:
            self.audit_log.record_failure(
                EventType.PASSKEY_REFUSED,
                user_id=current_user.id,
                client=client,
                session_id=current_user.session_id,
                purpose=PURPOSE,
            )
            raise
        user = self.users.signed_in_user(current_user.id)
        return replace_session(self.sessions, current_user, user, method=METHOD, amr=amr, client=client)
