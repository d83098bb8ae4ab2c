"""Codes: mailed to an address within limits, brought back within guesses, to prove that somebody reads it now."""

import json
import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta

from auth_service.adapters.challenges import Challenges, CodeVerdict, Judgement, new_ticket
from auth_service.adapters.limiter import Limit, Limiter, Windows
from auth_service.errors import CodeExpired, CodeWrong, TooManyCodes
from auth_service.models.letter import EmailKind
from auth_service.services.addresses import Address
from auth_service.services.outbox import Outbox

CODE_DIGITS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeLimits:
    """How many codes may be asked for; the cap of a day is the outbox's."""

    per_address: Windows
    per_address_and_network: Windows
    altogether: Windows


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeSent:
    """A code is on its way. The holder of the ticket may bring it."""

    ticket: str
    expires_in: timedelta
    resend_after: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipient:
    """Who a code is for and where it is sent; everything but the language takes part in its binding.

    A decoy stands for an account that must not be revealed: everything happens but the email, so that neither the
    answer nor its time shows the difference (user enumeration, ASVS 6.3.8).
    """

    address: Address
    language: str
    user_id: int | None
    """None for an address without an account."""
    credential_version: int | None
    session_id: uuid.UUID | None
    """The session that takes the place of a flow ticket; None for a code that belongs to a ticket."""
    is_decoy: bool = False


def bind_code(
    *,
    purpose: EmailKind,
    user_id: int | None,
    address: Address,
    credential_version: int | None,
    session_id: uuid.UUID | None,
) -> str:
    """Bind a code to what it is for. The digest of a code covers this text, so that the code is useless elsewhere.

    A JSON list, which no two different bindings share: texts are quoted, and an absent part is `null`. Otherwise an
    address could be chosen such that a code for one user, version or session counts for another one (ASVS 6.6.2).
    """
    parts = [purpose, user_id, address.key, credential_version, None if session_id is None else session_id.hex]
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeLimiter:
    """Counts the codes that are asked for, before any work is done."""

    limiter: Limiter
    limits: CodeLimits

    def count(self, kind: EmailKind, *, key: str, network: str) -> timedelta:
        """Count one for an address; returns after how long the next one may be. Raises TooManyCodes."""
        hit = self.limiter.hit(
            Limit(name=f"{kind}s", windows=self.limits.per_address, subject=key),
            # One network cannot use up the day's codes of an address: a share is left for the person who owns it.
            Limit(name="codes_per_network", windows=self.limits.per_address_and_network, subject=f"{key} {network}"),
            Limit(name="codes_altogether", windows=self.limits.altogether, subject=""),
        )
        if not hit.allowed:
            raise TooManyCodes(retry_after=hit.wait.total_seconds())
        return hit.wait


@dataclass(frozen=True, kw_only=True, slots=True)
class Codes:
    """The codes of one kind, which is also the kind of their letters and the purpose that their digests are bound to.

    A code belongs to the ticket of the browser that asked for it, and five wrong guesses from there burn it. Whoever
    comes without that ticket (an app without cookies, or a stranger) is judged by the newest code of the address, with
    five guesses of their own: these run out without burning the code, so that nobody can burn it for its owner.
    """

    kind: EmailKind
    challenges: Challenges
    limiter: CodeLimiter
    outbox: Outbox

    def mail(self, to: Recipient, *, ticket: str | None, network: str) -> CodeSent:
        """Mail a code, from then on the only living one of its ticket. Raises TooManyCodes, RedisAway.

        The same happens for nobody, so that neither the answer nor its time tells whether there is somebody. That also
        goes for the daily cap, which only letters that were really written can reach: beyond it nothing is mailed, and
        there is no code that could be guessed.
        """
        resend_after = self.limiter.count(self.kind, key=to.address.key, network=network)
        to, code = self._drawn(to)
        # Redis first: if the commit fails after this, its owner asks for another code. The other way round a letter
        # would bring a code that does not exist.
        binding = self._binding(to)
        held = issued(self.challenges, ticket, subject=binding, code=code)
        self.challenges.remember_newest(ticket=held, subject=binding)
        self._write(to, code)
        return CodeSent(ticket=held, expires_in=self.challenges.code_lifetime, resend_after=resend_after)

    def spend(self, code: str, to: Recipient, *, ticket: str | None) -> None:
        """Judge a code and spend it. Raises CodeWrong, or CodeExpired where no living code waits for a guess."""
        subject = self._binding(to)
        judgement = None
        if ticket is not None:
            judgement = self.challenges.judge(ticket=ticket, subject=subject, code=code)
        if judgement is None or judgement.verdict is CodeVerdict.EXPIRED:
            newest = self.challenges.newest(subject=subject)
            if newest is None:
                raise CodeExpired
            judgement = self.challenges.judge(ticket=newest, subject=subject, code=code, held=newest == ticket)
        _refuse_unless_right(judgement)

    def mail_in_session(self, to: Recipient, *, network: str, more_follows: bool = False) -> CodeSent:
        """Mail a code that is bound to the session that asks for it: the session is the ticket.

        Otherwise as `mail`. Whoever is not signed in there is never judged, and cannot burn it. `more_follows` says
        that the unit of work goes on to write other things.
        """
        resend_after = self.limiter.count(self.kind, key=to.address.key, network=network)
        to, code = self._drawn(to)
        binding = self._binding(to)
        wait = self.challenges.issue(ticket=binding, subject=binding, code=code)
        if wait:
            raise TooManyCodes(retry_after=wait.total_seconds())
        self._write(to, code, more_follows=more_follows)
        return CodeSent(ticket=binding, expires_in=self.challenges.code_lifetime, resend_after=resend_after)

    def spend_in_session(self, code: str, to: Recipient) -> None:
        """Judge a code that was mailed by `mail_in_session`, and spend it. Raises CodeWrong, CodeExpired."""
        subject = self._binding(to)
        _refuse_unless_right(self.challenges.judge(ticket=subject, subject=subject, code=code))

    def _drawn(self, to: Recipient) -> tuple[Recipient, str]:
        """Whom a code goes to, and the code; beyond the daily cap nobody is mailed it, and nobody guesses it."""
        if self.outbox.is_full(to.address):
            return replace(to, is_decoy=True), secrets.token_urlsafe()
        return to, random_code()

    def _binding(self, to: Recipient) -> str:
        return bind_code(
            purpose=self.kind,
            user_id=to.user_id,
            address=to.address,
            credential_version=to.credential_version,
            session_id=to.session_id,
        )

    def _write(self, to: Recipient, code: str, *, more_follows: bool = False) -> None:
        lives = self.challenges.code_lifetime
        self.outbox.put_code(
            kind=self.kind,
            to=to.address,
            user_id=None if to.is_decoy else to.user_id,
            language=to.language,
            values={"code": code, "minutes": lives // timedelta(minutes=1)},
            lives=lives,
            more_follows=more_follows,
        )


def _refuse_unless_right(judgement: Judgement) -> None:
    if judgement.verdict is CodeVerdict.WRONG:
        raise CodeWrong(attempts_left=judgement.attempts_left)
    if judgement.verdict is CodeVerdict.EXPIRED:
        raise CodeExpired


def issued(challenges: Challenges, held: str | None, *, subject: str, code: str) -> str:
    """Issue a code under the ticket that is held, or under a new one; returns the ticket. Raises TooManyCodes.

    One that is not about this subject is not held: a ticket that was planted, or that belongs to another user's
    challenge, is left alone.
    """
    if held is not None:
        wait = challenges.renew(ticket=held, subject=subject, code=code)
        if wait:
            raise TooManyCodes(retry_after=wait.total_seconds())
        if wait is not None:
            return held
    made = new_ticket()
    challenges.issue(ticket=made, subject=subject, code=code)
    return made


def random_code() -> str:
    """Draw six digits (CSPRNG), leading zeros included."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
