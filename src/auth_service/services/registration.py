"""Registration: an address becomes a temporary user, and a mailed code makes that a person of the portal."""

import hmac
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import update

from auth_service.adapters.challenges import Challenges, CodeVerdict
from auth_service.adapters.crypto import Digests
from auth_service.errors import (
    CodeExpired,
    CodeWrong,
    EmailTaken,
    MailAlreadyVerified,
    MailNotConfirmed,
    PasswordAlreadySet,
    PasswordNotSet,
    PasswordWrong,
    UserUnknown,
)
from auth_service.models import User, writing
from auth_service.models.letter import EmailKind
from auth_service.services.addresses import Address
from auth_service.services.codes import CodeLimiter, CodeSent, bind_code, issued, random_code
from auth_service.services.history import Origin
from auth_service.services.outbox import Outbox
from auth_service.services.passwords import Passwords
from auth_service.services.proofs import Proofs
from auth_service.services.users import Person, Profile, Users

NEVER_CHANGED = 0
"""The version of the credentials of an account whose password and address are those of the registration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """The six requests of the registration.

    A challenge belongs to a ticket, not to a user: whoever merely knows an id can neither burn the guesses of the
    honest user, nor finish the registration that somebody else proved, nor set its password.
    """

    users: Users
    challenges: Challenges
    limiter: CodeLimiter
    outbox: Outbox
    passwords: Passwords
    proofs: Proofs
    tickets: Digests
    callers_bring_codes: bool
    """Whether a code in the request is used as it is (`local`, `test`), or ignored (`production`)."""
    tickets_required: bool
    """Whether a caller without a ticket is nobody (`production`), or the user's newest challenge counts."""

    def sign_up(self, *, email: Address, language: str) -> Profile:
        """Create a temporary user. Raises EmailTaken; of fifty at once, for forty-nine."""
        made = self.users.create(email=email, language=language)
        if made is None:
            raise EmailTaken
        return made

    def send_code(
        self,
        *,
        user_id: int,
        brought: str | None,
        trusted: bool = False,
        ticket: str | None,
        language: str | None,
        network: str,
    ) -> CodeSent:
        """Mail a code, which is from then on the only living one of its ticket.

        `brought` is a code of the caller's making, which counts in production only where the caller is `trusted`;
        `ticket` is what the caller holds, if anything; `network` where the caller comes from. Raises UserUnknown,
        MailAlreadyVerified, TooManyCodes, RedisAway.
        """
        known = self.users.person_and_codes(user_id)
        if known is None:
            raise UserUnknown
        person, codes_of_a_day = known
        if person.verified_mail:
            raise MailAlreadyVerified
        if codes_of_a_day >= self.outbox.codes_a_day:
            raise self.outbox.refusal(person.address)
        subject = _subject(person)
        resend_after = self.limiter.count(EmailKind.REGISTRATION_CODE, key=person.email_key, network=network)

        code = brought if brought and (trusted or self.callers_bring_codes) else random_code()
        # Redis first: if the commit fails after this, its owner asks for another code. The other way round a letter
        # would bring a code that does not exist.
        held = issued(self.challenges, self._held(ticket, subject), subject=subject, code=code)
        if not self.tickets_required:
            self.challenges.remember_newest(ticket=held, subject=subject)

        lives = self.challenges.code_lifetime
        if language is not None and language != person.language:
            writing().execute(update(User).where(User.id == user_id).values(language=language))
        written = self.outbox.put_code(
            kind=EmailKind.REGISTRATION_CODE,
            to=person.address,
            user_id=user_id,
            language=language or person.language,
            values={"code": code, "minutes": lives // timedelta(minutes=1)},
            lives=lives,
        )
        if not written:
            if self.users.person(user_id) is None:  # deleted since: there is nobody whose turn could come
                raise UserUnknown
            raise self.outbox.refusal(person.address)
        return CodeSent(ticket=held, expires_in=lives, resend_after=resend_after)

    def confirm(self, *, user_id: int, code: str, ticket: str | None) -> None:
        """Judge a code. Raises CodeWrong, or CodeExpired for everything that is no live code of this ticket."""
        person = self.users.person(user_id)
        if person is None or person.verified_mail:
            raise CodeExpired
        subject = _subject(person)
        held = self._held(ticket, subject)
        if held is None:
            raise CodeExpired
        judgement = self.challenges.judge(ticket=held, subject=subject, code=code)
        if judgement.verdict is CodeVerdict.WRONG:
            raise CodeWrong(attempts_left=judgement.attempts_left)
        if judgement.verdict is CodeVerdict.EXPIRED:
            raise CodeExpired

    def finish(self, *, user_id: int, ticket: str | None, password: str | None, origin: Origin) -> Profile:
        """Make the temporary user whose address was confirmed a user of the portal.

        Asking again with the same ticket gives the same user. Raises UserUnknown, MailNotConfirmed,
        PasswordAlreadySet, TooManyAttempts, ValidationFailed, ServiceBusy.
        """
        person = self.users.person(user_id)
        if person is None:
            raise UserUnknown
        held = self._held(ticket, _subject(person))
        if held is None:
            raise MailNotConfirmed
        digest = self.tickets.of("finished", str(user_id), held)

        if not person.verified_mail:
            if not self.challenges.confirmed(ticket=held, subject=_subject(person)):
                raise MailNotConfirmed
            # Hashing takes longer than everything else together; no transaction is open yet.
            phc = self.passwords.checked_and_hashed(password, email=person.email) if password is not None else None
            made = self.users.promote(
                user_id, digest=digest, phc=phc, letters_about=EmailKind.REGISTRATION_CODE, origin=origin
            )
            if made is not None:
                return made
            # Nothing was written: the same request was quicker elsewhere. See what it made.
            person = self.users.person(user_id)
        return self._finished_before(person, digest=digest, password=password, origin=origin)

    def _finished_before(
        self, person: Person | None, *, digest: bytes, password: str | None, origin: Origin
    ) -> Profile:
        """Give the same answer again to whoever finished the registration, and to nobody else.

        Only as long as the account is as it was then: whose password or address was changed since has signed in.
        """
        if person is None:
            raise UserUnknown
        known = person.registration_digest is not None and hmac.compare_digest(person.registration_digest, digest)
        if not known or person.credential_version != NEVER_CHANGED:
            raise MailNotConfirmed
        if password is not None:
            try:
                self.proofs.by_password(person, password, purpose="registration", origin=origin)
            except (PasswordNotSet, PasswordWrong):
                raise PasswordAlreadySet from None
        return self.users.profile(person.id)

    def _held(self, ticket: str | None, subject: str) -> str | None:
        """The ticket that decides: the one presented, and only where profiles allow it the newest of the user."""
        if ticket is not None or self.tickets_required:
            return ticket
        return self.challenges.newest(subject=subject)


def _subject(person: Person) -> str:
    return bind_code(
        purpose=EmailKind.REGISTRATION_CODE,
        user_id=person.id,
        address=person.address,
        credential_version=person.credential_version,
        session_id=None,
    )
