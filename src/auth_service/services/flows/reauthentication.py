"""Proofs: somebody who is signed in shows once more who they are, before what a stolen token must not be enough for."""

from dataclasses import dataclass
from datetime import timedelta

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
    """Asks for the password again, for a code that was mailed now, or for a session that a mailed code just opened."""

    passwords: Passwords
    sessions: Sessions
    history: AuditLog
    throttle: LoginThrottle
    max_age: timedelta
    counted_as: str = "password_proofs"
    """What attempts are counted as; those of one name are counted together."""

    def verify_password(self, user: UserRecord, password: str, *, purpose: str, client: ClientInfo) -> None:
        """Check the password of whoever calls; `purpose` says in the history what for.

        Counted for each user over all that ask for it, before any work is done: a stolen token is no way to guess on
        where the sign-in pauses. Raises PasswordNotSet, TooManyAttempts, PasswordWrong, ServiceBusy.
        """
        if user.password_hash is None:
            raise PasswordNotSet
        self.passwords.ensure_capacity()
        verdict = self.passwords.attempt(
            password,
            user.password_hash,
            throttle=self.throttle,
            counted_as=self.counted_as,
            subject=f"user {user.id}",
        )
        if not verdict.matches:
            self.history.record_failure(EventType.PASSWORD_REFUSED, user_id=user.id, client=client, purpose=purpose)
            raise PasswordWrong

    def verify_code(
        self, code: str, *, codes: OneTimeCodes, to: Recipient, caller: CurrentUser, purpose: str, client: ClientInfo
    ) -> None:
        """Verify a code that was emailed for the session of the caller.

        Raises CodeWrong, CodeExpired, RedisUnavailable.
        """
        try:
            codes.verify_and_consume(code, to)
        except (CodeWrong, CodeExpired):
            self.history.record_failure(
                EventType.CODE_REFUSED, user_id=caller.id, client=client, session_id=caller.session_id, purpose=purpose
            )
            raise

    def require_recent(
        self, user: UserRecord, password: str | None, *, caller: CurrentUser, purpose: str, client: ClientInfo
    ) -> None:
        """Check the password; for an account without one, whether the session was opened by a code just now.

        Raises ReauthenticationRequired where there is neither, and what `verify_password` raises.
        """
        if password is not None:
            self.verify_password(user, password, purpose=purpose, client=client)
        elif user.password_hash is not None or not self.sessions.is_recent(caller, within=self.max_age):
            raise ReauthenticationRequired
