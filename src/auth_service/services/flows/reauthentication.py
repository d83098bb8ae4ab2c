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
from auth_service.services.credentials.one_time_codes import OneTimeCodes, Recipient
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.sessions.sessions import CurrentUser, Sessions
from auth_service.services.users.statements import UserRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Reauthentication:
    """Verifies the password, an emailed code, or that the session was opened recently, before a sensitive action."""

    passwords: Passwords
    sessions: Sessions
    history: AuditLog
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
            self.history.record_failure(EventType.PASSWORD_REFUSED, user_id=user.id, client=client, purpose=purpose)
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
            self.history.record_failure(
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
        elif user.password_hash is not None or not self.sessions.is_recent(current_user, within=self.max_age):
            raise ReauthenticationRequired
