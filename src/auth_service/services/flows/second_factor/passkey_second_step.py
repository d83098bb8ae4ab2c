"""Second step of a sign-in with a passkey of the account, after a first step with another factor."""

from dataclasses import dataclass, replace

from auth_service.adapters.crypto.flow_tickets import TicketPurpose
from auth_service.adapters.crypto.webauthn import AuthenticationResponse
from auth_service.errors import PasskeyRejected, SecondStepExpired
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.credentials.passkeys import PasskeyChallenge, Passkeys
from auth_service.services.flows.second_factor.passkey_verification import PasskeyVerification
from auth_service.services.flows.second_factor.second_step import FirstStep, SecondStep
from auth_service.services.flows.sign_in_stages import SignedIn, SignInContext
from auth_service.services.sessions.authentication_levels import MULTIPLE_FACTORS

PURPOSE = "sign_in"


@dataclass(frozen=True, kw_only=True, slots=True)
class PasskeySecondStep:
    """Verifies a passkey of the user of a first step; the second step completes the sign-in."""

    passkeys: Passkeys
    verification: PasskeyVerification
    second_step: SecondStep
    administrators: Administrators
    audit_log: AuditLog

    def first_step(self, ticket: str | None) -> FirstStep:
        """Open the ticket of a first step. Raises SecondStepExpired."""
        return self.second_step.first_step(ticket)

    def options(self, first: FirstStep, *, context: SignInContext) -> PasskeyChallenge:
        """Return the options of an authentication with one of the passkeys of the account.

        Raises SecondStepExpired if the account has changed since the first step, AccountBanned.
        """
        sign_in = self.second_step.verified_sign_in(first, context=context)
        ticket = replace(first.ticket, purpose=TicketPurpose.PASSKEY_SECOND_STEP, first_step=first.digest)
        return self.passkeys.request_challenge(ticket, allow=self.passkeys.of_user(sign_in.user.id))

    def challenge(self, ticket: str | None) -> FirstStep:
        """Open a ticket of `options`, which has the content of the first step too. Raises SecondStepExpired.

        The session consumes the ticket of the first step, and so all tickets that continue it (FD6).
        """
        opened = self.passkeys.opened(ticket, purpose=TicketPurpose.PASSKEY_SECOND_STEP)
        if opened is None or opened.first_step is None:
            raise SecondStepExpired
        return FirstStep(ticket=opened, digest=opened.first_step)

    def complete(self, first: FirstStep, response: AuthenticationResponse, *, context: SignInContext) -> SignedIn:
        """Complete a sign-in with a passkey.

        Raises PasskeyRejected, also for a passkey of another user; SecondStepExpired for a used ticket and for an
        account that has changed meanwhile, AccountBanned.
        """
        sign_in = self.second_step.verified_sign_in(first, context=context)
        # Before the user is locked: of all locks that of the administrators is the first.
        if sign_in.method == "code":
            self.administrators.lock_for_first(sign_in.user.address)
        try:
            passkey = self.verification.own_passkey(response, user_id=sign_in.user.id)
            amr = self.verification.verify(passkey, response, ticket=first.ticket, client=context.client)
        except PasskeyRejected:
            self.audit_log.record_failure(
                EventType.PASSKEY_REFUSED, user_id=sign_in.user.id, client=context.client, purpose=PURPOSE
            )
            raise
        return self.second_step.complete(replace(sign_in, amr=[*sign_in.amr, *amr, MULTIPLE_FACTORS]))
