"""Signing in, by password or by a mailed code: one answer and one duration for all who are refused."""

from dataclasses import dataclass
from typing import NoReturn

from sqlalchemy import update

from auth_service.adapters.devices import DeviceTokens
from auth_service.adapters.throttle import Throttle
from auth_service.errors import CodeExpired, CodeWrong, CredentialsRejected, ServiceBusy
from auth_service.models import User, writing
from auth_service.models.event import Kind
from auth_service.services.addresses import Address
from auth_service.services.codes import CodeSent, OneTimeCodes
from auth_service.services.history import History, Origin
from auth_service.services.passwords import Passwords
from auth_service.services.recipients import recipient_or_decoy
from auth_service.services.sessions import Sessions, Tokens
from auth_service.services.undos import Undos
from auth_service.services.users import Person, Users


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedIn:
    """Somebody has proved who they are."""

    tokens: Tokens
    device_token: str
    """Makes this device known to its owner's account, so that an attack on the address does not lock it out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Browser:
    """What asks to be signed in: where it is, how it wants its tokens, and what it has kept from earlier."""

    origin: Origin
    transport: str
    device_token: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """Opens sessions to those who prove who they are."""

    users: Users
    passwords: Passwords
    codes: OneTimeCodes
    sessions: Sessions
    history: History
    undos: Undos
    throttle: Throttle
    devices: DeviceTokens

    def by_password(self, *, email: Address, password: str, browser: Browser) -> SignedIn:
        """Open a session for an address and its password.

        Raises TooManyAttempts before any work is done, CredentialsRejected for an unknown address, a wrong password,
        an account without one and a temporary user alike, and ServiceBusy.
        """
        self.passwords.make_sure_of_room()
        person = self.users.by_email(email)
        known = self._known(person, browser)
        # Attempts from a device that its owner signed in on before are counted by themselves: whoever attacks the
        # address, or all addresses, cannot make its owner wait there.
        subject = f"device {known}" if known else f"address {email.key}"
        verdict = self.passwords.attempt(
            password,
            person.password_hash if person else None,
            throttle=self.throttle,
            counted_as="sign_in",
            subject=subject,
            trusted=known is not None,
        )
        if person is None or not verdict.matches:
            self._refuse(person, browser.origin, method="password")
        if verdict.outdated:
            self._rehash(person, password)
        return self._open(person, browser, method="password", known=known)

    def send_code(self, *, email: Address, ticket: str | None, network: str) -> CodeSent:
        """Mail a code to sign in with, if there is somebody to sign in. Raises TooManyCodes, RedisAway."""
        return self.codes.send(recipient_or_decoy(email, self.users.by_email(email)), ticket=ticket, network=network)

    def by_code(self, *, email: Address, code: str, ticket: str | None, browser: Browser) -> SignedIn:
        """Open a session for an address and a code from its newest letter.

        Raises CredentialsRejected for whatever is no live code of this address, and RedisAway.
        """
        person = self.users.by_email(email)
        try:
            self.codes.verify_and_consume(code, recipient_or_decoy(email, person), ticket=ticket)
        except (CodeWrong, CodeExpired):
            self._refuse(person, browser.origin, method="code")
        if person is None or not person.verified_mail:  # there was no letter, so the code was guessed right
            self._refuse(person, browser.origin, method="code")
        return self._open(person, browser, method="code", known=self._known(person, browser))

    def _known(self, person: Person | None, browser: Browser) -> str | None:
        """The id of a device that the person has signed in on before."""
        if person is None:
            return None
        return self.devices.known(browser.device_token, user_id=person.id, version=person.credential_version)

    def _refuse(self, person: Person | None, origin: Origin, *, method: str) -> NoReturn:
        """Write the attempt down, whether or not there is such a person: it must not show in the time that it takes."""
        self.history.note_failure(
            Kind.SIGN_IN_REFUSED, user_id=person.id if person else None, origin=origin, method=method
        )
        raise CredentialsRejected

    def _open(self, person: Person, browser: Browser, *, method: str, known: str | None) -> SignedIn:
        tell = [] if known else [self.undos.telling_of_new_device(person, origin=browser.origin)]
        tokens = self.sessions.open(
            person, method=method, transport=browser.transport, origin=browser.origin, besides=tell
        )
        return SignedIn(
            tokens=tokens,
            # Made anew also for a device that is known: the days of one that is used begin again.
            device_token=self.devices.make(user_id=person.id, version=person.credential_version, device=known),
        )

    def _rehash(self, person: Person, password: str) -> None:
        """Bring an outdated hash up to date, unless the password was changed meanwhile or there is too much to do."""
        try:
            phc = self.passwords.hashed(password)
        except ServiceBusy:
            return  # the next sign-in will do; whoever has proved who they are is not sent away for this
        writing().execute(
            update(User)
            .where(User.id == person.id, User.password_hash == person.password_hash)
            .values(password_hash=phc)
        )
