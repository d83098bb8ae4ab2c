"""Second step of a sign-in: a TOTP code or a recovery code with the ticket of the first step."""

from dataclasses import dataclass, replace

from auth_service.adapters.crypto.flow_tickets import FlowTicket, FlowTickets, TicketPurpose, ticket_digest
from auth_service.errors import CredentialsRejected, SecondFactorRejected, SecondStepExpired
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.flows.second_factor.verification import SecondFactorCode, SecondFactorVerification
from auth_service.services.flows.sign_in_stages import SignedIn, SignInContext, SignInStages, VerifiedSignIn
from auth_service.services.sessions.authentication_levels import method_of, with_second_factor
from auth_service.services.users.users import Users


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstStep:
    """The opened ticket of a first step, and its digest, which the session will contain."""

    ticket: FlowTicket
    digest: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondStep:
    """Verifies the second factor of a sign-in. Needs no Redis: the state of the first step is in the ticket."""

    users: Users
    administrators: Administrators
    tickets: FlowTickets
    verification: SecondFactorVerification
    stages: SignInStages

    def first_step(self, ticket: str | None) -> FirstStep:
        """Open the ticket of a first step. Raises SecondStepExpired."""
        opened = self.tickets.open(ticket or "", purpose=TicketPurpose.SECOND_STEP)
        if ticket is None or opened is None:
            raise SecondStepExpired
        return FirstStep(ticket=opened, digest=ticket_digest(ticket))

    def verified_sign_in(self, first: FirstStep, *, context: SignInContext) -> VerifiedSignIn:
        """Return the sign-in that a first step has begun.

        Raises SecondStepExpired if the credentials of the account have changed since, AccountBanned.
        """
        ticket = first.ticket
        self.stages.sessions.prepare()
        user = self.users.by_id(ticket.user_id or 0)
        if user is None or user.credential_version != ticket.credential_version:
            raise SecondStepExpired
        sign_in = VerifiedSignIn(
            user=user,
            method=method_of(ticket.amr),
            amr=ticket.amr,
            context=context,
            known_device=self.stages.known_device(user, context),
            ticket_digest=first.digest,
        )
        self.stages.not_banned.run(sign_in)
        return sign_in

    def by_code(
        self, first: FirstStep, code: SecondFactorCode, *, trusts_device: bool, context: SignInContext
    ) -> SignedIn:
        """Complete a sign-in with a TOTP code or a recovery code.

        Raises SecondFactorRejected for a wrong, used and delayed code alike, SecondStepExpired for a used ticket and
        for an account that has changed meanwhile, AccountBanned.
        """
        sign_in = self.verified_sign_in(first, context=context)
        # Before the user is locked: of all locks that of the administrators is the first.
        if sign_in.method == "code":
            self.administrators.lock_for_first(sign_in.user.address)
        result = self.verification.verify(sign_in.user, code, purpose="sign_in", client=context.client)
        if result.reference is None:
            left = {} if result.attempts_left is None else {"attempts_left": result.attempts_left}
            raise SecondFactorRejected(**left)
        return self.complete(
            replace(sign_in, amr=with_second_factor(sign_in.amr, result.reference), trusts_device=trusts_device)
        )

    def complete(self, sign_in: VerifiedSignIn) -> SignedIn:
        """Open the session of a sign-in whose second factor was verified.

        Raises SecondStepExpired for a used ticket and for an account that has changed meanwhile, AccountBanned.
        """
        try:
            return self.stages.complete(sign_in)
        except CredentialsRejected:
            raise SecondStepExpired from None
