"""Signing in by password: throttled before the work, one duration and one answer for all who are refused."""

from dataclasses import dataclass
from typing import NoReturn

from sqlalchemy import update

from auth_service.adapters.devices import DeviceTokens
from auth_service.adapters.throttle import Attempt, Throttle
from auth_service.errors import CredentialsRejected, TooManyAttempts
from auth_service.models import User, db
from auth_service.services.addresses import Address
from auth_service.services.history import History, Origin
from auth_service.services.notices import Notices
from auth_service.services.passwords import Passwords
from auth_service.services.sessions import Sessions, Tokens
from auth_service.services.users import Person, Users


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedIn:
    """Somebody has proved who they are."""

    tokens: Tokens
    transport: str
    device_token: str
    """Makes this device known to its owner's account, so that an attack on the address does not lock it out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """Opens sessions to those who prove who they are."""

    users: Users
    passwords: Passwords
    sessions: Sessions
    history: History
    notices: Notices
    throttle: Throttle
    devices: DeviceTokens

    def by_password(
        self, *, email: Address, password: str, transport: str, device_token: str | None, origin: Origin
    ) -> SignedIn:
        """Open a session for an address and its password.

        Raises TooManyAttempts before any work is done, CredentialsRejected for an unknown address, a wrong password,
        an account without one and a temporary user alike, and ServiceBusy.
        """
        person = self.users.by_email(email)
        known = person is not None and self.devices.is_known(device_token, user_id=person.id)
        # Attempts from a device that its owner signed in on before are counted by themselves: whoever attacks the
        # address cannot make its owner wait there.
        subject = f"device {device_token}" if known else f"address {email.key}"
        attempt = self._admitted(subject)
        verdict = self.passwords.verdict(password, person.password_hash if person else None)
        if person is None or not verdict.matches:
            self._refuse(person, origin)
        self.throttle.forgive("sign_in", subject, attempt)
        if verdict.outdated:
            self._rehash(person, password)
        tokens = self.sessions.open(user_id=person.id, method="password", transport=transport, origin=origin)
        if not known:
            self.notices.tell("new_device", user_id=person.id, origin=origin)
        return SignedIn(
            tokens=tokens,
            transport=transport,
            device_token=device_token if known and device_token else self.devices.make(user_id=person.id),
        )

    def _admitted(self, subject: str) -> Attempt:
        attempt = self.throttle.attempt("sign_in", subject)
        if attempt.wait:
            raise TooManyAttempts(retry_after=attempt.wait.total_seconds())
        return attempt

    def _refuse(self, person: Person | None, origin: Origin) -> NoReturn:
        """Write the attempt down, whether or not there is such a person: it must not show in the time that it takes."""
        self.history.note_failure("sign_in_refused", user_id=person.id if person else None, origin=origin)
        raise CredentialsRejected

    def _rehash(self, person: Person, password: str) -> None:
        """Bring an outdated hash up to date, unless the password was changed meanwhile."""
        phc = self.passwords.rehashed(password)
        db.session.execute(
            update(User)
            .where(User.id == person.id, User.password_hash == person.password_hash)
            .values(password_hash=phc)
        )
