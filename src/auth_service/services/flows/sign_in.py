"""Sign-in by password or by emailed code: one error and constant work for every rejected attempt."""

from dataclasses import dataclass
from typing import NoReturn

from sqlalchemy import bindparam, update

from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.db import Write, transaction
from auth_service.errors import CodeExpired, CodeWrong, CredentialsRejected, ServiceBusy
from auth_service.models import User
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.one_time_codes import CodeSent, OneTimeCodes
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.addresses import Address
from auth_service.services.flows.sign_in_stages import SignedIn, SignInContext, SignInStages, VerifiedSignIn
from auth_service.services.sessions.authentication_levels import method_references
from auth_service.services.users.recipients import recipient_or_decoy
from auth_service.services.users.statements import ById, UserRecord
from auth_service.services.users.users import Users


class _Rehash(ById):
    outdated: str
    password_hash: str


_REHASH = Write(
    update(User)
    .where(User.id == bindparam("user_id"), User.password_hash == bindparam("outdated"))
    .values(password_hash=bindparam("password_hash")),
    parameters=_Rehash,
)


PASSWORD, EMAILED_CODE = method_references("password"), method_references("code")


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """Verifies the first factor; the sign-in stages decide whether a session is opened."""

    users: Users
    passwords: Passwords
    codes: OneTimeCodes
    audit_log: AuditLog
    throttle: LoginThrottle
    stages: SignInStages

    def by_password(self, *, email: Address, password: str, context: SignInContext) -> SignedIn:
        """Sign in with an email address and a password.

        Raises TooManyAttempts before any work is done, CredentialsRejected for an unknown address, a wrong password,
        an account without a password and a temporary user alike, ServiceBusy, and the errors of the stages.
        """
        self.passwords.ensure_capacity()
        user = self.users.by_email(email)
        known_device = self.stages.known_device(user, context)
        result = self.passwords.attempt(
            password,
            user.password_hash if user else None,
            throttle=self.throttle,
            address=email,
            network=context.client.network,
            known_device=known_device,
        )
        if user is None or not result.matches:
            self._reject(user, context.client, method="password")
        if result.outdated:
            self._rehash(user, password)
        return self.stages.complete(
            VerifiedSignIn(user=user, method="password", amr=PASSWORD, context=context, known_device=known_device)
        )

    def send_code(self, *, email: Address, ticket: str | None, network: str) -> CodeSent:
        """Send a sign-in code to the address, if it belongs to a user. Raises TooManyCodes, RedisUnavailable."""
        return self.codes.send(recipient_or_decoy(email, self.users.by_email(email)), ticket=ticket, network=network)

    def by_code(self, *, email: Address, code: str, ticket: str | None, context: SignInContext) -> SignedIn:
        """Sign in with an email address and a code from its newest email.

        Raises CredentialsRejected for a wrong, expired or missing code and for an unknown address alike,
        RedisUnavailable, and the errors of the stages.
        """
        user = self.users.by_email(email)
        try:
            used = self.codes.verify_and_consume(code, recipient_or_decoy(email, user), ticket=ticket)
        except (CodeWrong, CodeExpired):
            self._reject(user, context.client, method="code")
        if user is None or not user.verified_mail:  # no email was sent: the client guessed the decoy code
            self._reject(user, context.client, method="code")
        known_device = self.stages.known_device(user, context)
        try:
            return self.stages.complete(
                VerifiedSignIn(user=user, method="code", amr=EMAILED_CODE, context=context, known_device=known_device)
            )
        finally:
            # After the session, because of the lock order; also if a second step follows.
            self.codes.withdraw_email(used)

    def _reject(self, user: UserRecord | None, client: ClientInfo, *, method: str) -> NoReturn:
        """Record the failed attempt, for unknown addresses too: constant work prevents user enumeration by timing."""
        self.audit_log.record_anonymous_failure(
            EventType.SIGN_IN_REFUSED, user_id=user.id if user else None, client=client, method=method
        )
        raise CredentialsRejected

    def _rehash(self, user: UserRecord, password: str) -> None:
        """Replace an outdated hash, unless the password was changed meanwhile or the hash queue is full."""
        try:
            password_hash = self.passwords.hash(password)
        except ServiceBusy:
            return  # the next sign-in replaces the hash; a correct password is not rejected because of a full queue
        transaction().write(
            _REHASH({"user_id": user.id, "outdated": user.password_hash or "", "password_hash": password_hash})
        )
