"""Reauthentication (step-up) before a sensitive action, because a stolen access token must not be sufficient for it."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.adapters.crypto.device_tokens import DeviceTokens
from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.errors import (
    CodeExpired,
    CodeWrong,
    PasswordNotSet,
    PasswordWrong,
    ReauthenticationRequired,
)
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.one_time_codes import CodeNotEmailed, CodeSent, OneTimeCodes, Recipient
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.sessions.sessions import CurrentUser
from auth_service.services.users.recipients import recipient
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import Users


def send_session_code(current_user: CurrentUser, *, users: Users, codes: OneTimeCodes, network: str) -> CodeSent:
    """Send a code that belongs to the session of the current user, to the address of the account.

    Raises TooManyCodes, RedisUnavailable. The daily cap raises TooManyCodes too: a signed-in user is known to exist, so
    the error reveals nothing, and without it the user would wait for an email that is never sent.
    """
    user = users.signed_in_user(current_user.id)
    to = recipient(user, address=user.address, session_id=current_user.session_id)
    try:
        return codes.send(to, network=network)
    except CodeNotEmailed:
        users.signed_in_user(current_user.id)  # raises TokenInvalid if the account was deleted meanwhile
        raise codes.outbox.daily_cap_error(user.address) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reauthentication:
    """Verifies the password, an emailed code, or that the session was opened recently, before a sensitive action."""

    passwords: Passwords
    audit_log: AuditLog
    throttle: LoginThrottle
    max_age: timedelta
    """How long the session of a user without a password counts as reauthenticated after its sign-in."""
    devices: DeviceTokens

    def verify_password(self, user: UserRecord, password: str, *, purpose: str, client: ClientInfo) -> None:
        """Verify the password of a user; `purpose` names the action in the audit event of a failed attempt.

        Attempts are counted together with those of sign-in, before the password is hashed: neither a stolen access
        token nor the flow ticket of a registration allows brute force beyond the limits of sign-in. Raises
        PasswordNotSet, TooManyAttempts, PasswordWrong, ServiceBusy.
        """
        if user.password_hash is None:
            raise PasswordNotSet
        self.passwords.ensure_capacity()
        result = self.passwords.attempt(
            password,
            user.password_hash,
            throttle=self.throttle,
            address=user.address,
            network=client.network,
            known_device=self.devices.known(client.device_token, user_id=user.id, version=user.credential_version),
        )
        if not result.matches:
            self.audit_log.record_failure(EventType.PASSWORD_REFUSED, user_id=user.id, client=client, purpose=purpose)
            raise PasswordWrong

    def verify_code(
        self,
        code: str,
        *,
        codes: OneTimeCodes,
        to: Recipient,
        current_user: CurrentUser,
        purpose: str,
        client: ClientInfo,
    ) -> None:
        """Verify and consume a code that was sent for the session of the current user; record a failed attempt.

        Raises CodeWrong, CodeExpired, RedisUnavailable.
        """
        try:
            codes.verify_and_consume(code, to)
        except (CodeWrong, CodeExpired):
            self.audit_log.record_failure(
                EventType.CODE_REFUSED,
                user_id=current_user.id,
                client=client,
                session_id=current_user.session_id,
                purpose=purpose,
            )
            raise

    def require_recent(
        self, user: UserRecord, password: str | None, *, current_user: CurrentUser, purpose: str, client: ClientInfo
    ) -> None:
        """Verify the password; for an account without one, require a session that was opened within `max_age`.

        Raises ReauthenticationRequired if neither applies, and the errors of `verify_password`.
        """
        if password is not None:
            self.verify_password(user, password, purpose=purpose, client=client)
        elif user.password_hash is not None or not current_user.authenticated_within(self.max_age):
            raise ReauthenticationRequired
