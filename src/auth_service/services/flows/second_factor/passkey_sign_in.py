"""Passkey sign-in: a passkey is two factors in one, so the session is `aal2` and has no second step."""

from dataclasses import dataclass

from auth_service.adapters.crypto.flow_tickets import FlowTicket, TicketPurpose, ticket_digest
from auth_service.adapters.crypto.webauthn import AuthenticationResponse
from auth_service.errors import CredentialsRejected, CredentialUnknown, PasskeyRejected
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog
from auth_service.services.credentials.passkey_statements import PasskeyKey
from auth_service.services.credentials.passkeys import METHOD, PasskeyChallenge, Passkeys
from auth_service.services.flows.second_factor.passkey_verification import PasskeyVerification
from auth_service.services.flows.sign_in_stages import SignedIn, SignInContext, SignInStages, VerifiedSignIn
from auth_service.services.users.users import Users


@dataclass(frozen=True, kw_only=True, slots=True)
class PasskeySignIn:
    """Verifies a passkey of an unknown user; the sign-in stages decide whether a session is opened."""

    users: Users
    passkeys: Passkeys
    verification: PasskeyVerification
    audit_log: AuditLog
    stages: SignInStages

    def options(self) -> PasskeyChallenge:
        """Return the options of a sign-in with any passkey: they are the same for all users and addresses."""
        ticket = FlowTicket(purpose=TicketPurpose.PASSKEY_SIGN_IN, transport="")
        return self.passkeys.request_challenge(ticket, allow=[])

    def complete(self, response: AuthenticationResponse, *, ticket: str | None, context: SignInContext) -> SignedIn:
        """Sign in with a passkey.

        Raises CredentialUnknown if no account has the passkey, PasskeyRejected for every failed check and for a ticket
        that is expired or consumed, and the errors of the stages.
        """
        owner: int | None = None
        self.stages.sessions.prepare()
        try:
            passkey = self.verification.passkey_of(response)
            owner = passkey.user_id
            return self._complete(passkey, response, ticket=ticket, context=context)
        except (CredentialUnknown, PasskeyRejected):
            self.audit_log.record_anonymous_failure(
                EventType.SIGN_IN_REFUSED, user_id=owner, client=context.client, method=METHOD
            )
            raise

    def _complete(
        self, passkey: PasskeyKey, response: AuthenticationResponse, *, ticket: str | None, context: SignInContext
    ) -> SignedIn:
        user = self.users.by_id(passkey.user_id)
        # Without `allowCredentials` the authenticator always returns the user handle (WebAuthn Level 3, 7.2).
        if user is None or response.user_handle is None:
            raise PasskeyRejected
        opened = self.passkeys.opened(ticket, purpose=TicketPurpose.PASSKEY_SIGN_IN)
        amr = self.verification.verify(passkey, response, ticket=opened, client=context.client)
        try:
            return self.stages.complete(
                VerifiedSignIn(
                    user=user,
                    method=METHOD,
                    amr=amr,
                    context=context,
                    known_device=self.stages.known_device(user, context),
                    ticket_digest=ticket_digest(ticket or ""),
                )
            )
        except CredentialsRejected:
            raise PasskeyRejected from None
