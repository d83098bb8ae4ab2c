"""Proofs: somebody who is signed in shows once more who they are, before what a stolen token must not be enough for."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.adapters.redis.login_throttle import Throttle
from auth_service.errors import (
    CodeExpired,
    CodeWrong,
    PasswordNotSet,
    PasswordWrong,
    ReauthenticationRequired,
)
from auth_service.models.audit_event import Kind
from auth_service.services.audit.events import History, Origin
from auth_service.services.credentials.one_time_codes import OneTimeCodes, Recipient
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.sessions.sessions import Caller, Sessions
from auth_service.services.users.statements import Person


@dataclass(frozen=True, kw_only=True, slots=True)
class Proofs:
    """Asks for the password again, for a code that was mailed now, or for a session that a mailed code just opened."""

    passwords: Passwords
    sessions: Sessions
    history: History
    throttle: Throttle
    fresh_for: timedelta
    counted_as: str = "password_proofs"
    """What attempts are counted as; those of one name are counted together."""

    def by_password(self, person: Person, password: str, *, purpose: str, origin: Origin) -> None:
        """Check the password of whoever calls; `purpose` says in the history what for.

        Counted for each user over all that ask for it, before any work is done: a stolen token is no way to guess on
        where the sign-in pauses. Raises PasswordNotSet, TooManyAttempts, PasswordWrong, ServiceBusy.
        """
        if person.password_hash is None:
            raise PasswordNotSet
        self.passwords.make_sure_of_room()
        verdict = self.passwords.attempt(
            password,
            person.password_hash,
            throttle=self.throttle,
            counted_as=self.counted_as,
            subject=f"user {person.id}",
        )
        if not verdict.matches:
            self.history.note_failure(Kind.PASSWORD_REFUSED, user_id=person.id, origin=origin, purpose=purpose)
            raise PasswordWrong

    def by_code(
        self, code: str, *, codes: OneTimeCodes, to: Recipient, caller: Caller, purpose: str, origin: Origin
    ) -> None:
        """Verify a code that was emailed for the session of the caller.

        Raises CodeWrong, CodeExpired, RedisUnavailable.
        """
        try:
            codes.verify_and_consume(code, to)
        except (CodeWrong, CodeExpired):
            self.history.note_failure(
                Kind.CODE_REFUSED, user_id=caller.id, origin=origin, session_id=caller.session_id, purpose=purpose
            )
            raise

    def fresh(self, person: Person, password: str | None, *, caller: Caller, purpose: str, origin: Origin) -> None:
        """Check the password; for an account without one, whether the session was opened by a code just now.

        Raises ReauthenticationRequired where there is neither, and what `by_password` raises.
        """
        if password is not None:
            self.by_password(person, password, purpose=purpose, origin=origin)
        elif person.password_hash is not None or not self.sessions.is_fresh(caller, within=self.fresh_for):
            raise ReauthenticationRequired
