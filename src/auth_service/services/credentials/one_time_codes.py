"""One-time codes by email: sent within rate limits, bound to what they are for, verified once within few attempts."""

import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from auth_service.adapters.redis.code_store import CodeStore, VerificationOutcome, VerificationResult, new_ticket
from auth_service.adapters.redis.rate_limiter import Limit, RateLimiter, Windows
from auth_service.errors import CodeExpired, CodeWrong, TooManyCodes
from auth_service.models.outbox_message import EmailKind
from auth_service.services.email.addresses import Address
from auth_service.services.email.outbox import Outbox

CODE_DIGITS = 6

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeLimits:
    """How many codes may be requested. The daily cap is not among them: the outbox counts it in PostgreSQL."""

    per_address: Windows
    per_address_and_network: Windows
    global_limit: Windows


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeSent:
    """A code was issued; whether an email carries it must not show."""

    ticket: str | None
    """The flow ticket that the code belongs to; None where a session takes its place."""
    expires_in: timedelta
    resend_after: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipient:
    """Who a code is for and where it is sent; all but the language and `is_decoy` are parts of its binding.

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
    return _encode_json(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeLimiter:
    """The rate limits of emailed codes, counted before any work is done."""

    limiter: RateLimiter
    limits: CodeLimits

    def count(self, kind: EmailKind, *, key: str, network: str) -> timedelta:
        """Count one code for an address; returns the time until the next one is allowed. Raises TooManyCodes."""
        hit = self.limiter.hit(
            Limit(name=f"{kind}s", windows=self.limits.per_address, subject=key),
            # One network cannot use up the daily cap of an address: the owner of the address has a reserved share.
            Limit(name="codes_per_network", windows=self.limits.per_address_and_network, subject=f"{key} {network}"),
            Limit(name="codes_altogether", windows=self.limits.global_limit, subject=""),
        )
        if not hit.allowed:
            raise TooManyCodes(retry_after=hit.wait.total_seconds())
        return hit.wait


def random_code() -> str:
    """Draw six digits from the CSPRNG of the operating system, leading zeros included (ASVS 6.5.3)."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"


class UnboundAttempts(Enum):
    """What an attempt without the flow ticket of a code counts as."""

    REFUSED = "refused"
    """Nothing: it finds no code. An attacker who knows no more than a user id can neither guess nor burn a code."""
    AS_BOUND = "as_bound"
    """An attempt with the newest ticket: for `local` and `test`, where clients may leave cookies out."""
    COUNTED_APART = "counted_apart"
    """An attempt at the newest code of the binding, counted apart from those with the ticket.

    A client without cookies gets in, and an attacker who knows the address uses up only these attempts: the holder of
    the ticket keeps all of them (decision 11).
    """


class CodeNotEmailed(Exception):
    """The email was not written: concurrent requests reached the daily cap first, or the user was deleted meanwhile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OneTimeCodes:
    """The one-time codes of one purpose, which is the kind of their emails.

    A code belongs to a flow ticket or to a session. Five wrong attempts from there burn it; a new code does not refill
    the attempts at an open one (decision 3).
    """

    kind: EmailKind
    store: CodeStore
    limiter: CodeLimiter
    outbox: Outbox
    unbound: UnboundAttempts
    reveals_daily_cap: bool
    """Whether an address beyond its daily cap is an error: only where the client knows already that the user exists.

    Otherwise an error would reveal it, since only emails that were written fill the cap. Nothing is emailed then, and
    the code that is issued cannot be guessed.
    """
    draw: Callable[[], str] = random_code

    def __post_init__(self) -> None:
        """Raise ValueError for a kind of email that does not count for the daily cap."""
        if not self.kind.carries_code:
            raise ValueError(f"emails of the kind {self.kind} carry no code")

    def send(
        self,
        to: Recipient,
        *,
        network: str,
        ticket: str | None = None,
        client_supplied: str | None = None,
        codes_today: int | None = None,
    ) -> CodeSent:
        """Email a code, from then on the only valid one of its ticket or session.

        `ticket` is the flow ticket that the client holds, `network` where the client comes from, `codes_today` how many
        codes the address had in 24 hours, where that was read already. `client_supplied` takes the place of a drawn
        code: the caller decides whether it may. Raises TooManyCodes, RedisUnavailable; CodeNotEmailed only where the
        daily cap is revealed.
        """
        if self.reveals_daily_cap and self._is_full(to, codes_today):
            raise self.outbox.refusal(to.address)
        resend_after = self.limiter.count(self.kind, key=to.address.key, network=network)
        code = client_supplied or self.draw()
        if not self.reveals_daily_cap and self._is_full(to, codes_today):
            to, code = replace(to, is_decoy=True), secrets.token_urlsafe()
        # Redis first: if the commit fails after this, the user requests another code. The other way round an email
        # would carry a code that does not exist.
        ticket = self._issue(to, code, ticket)
        emailed = self.outbox.put_code(
            kind=self.kind,
            to=to.address,
            user_id=None if to.is_decoy else to.user_id,
            language=to.language,
            values={"code": code, "minutes": self.store.code_lifetime // timedelta(minutes=1)},
            ttl=self.store.code_lifetime,
        )
        if self.reveals_daily_cap and not emailed:
            raise CodeNotEmailed
        return CodeSent(ticket=ticket, expires_in=self.store.code_lifetime, resend_after=resend_after)

    def verify_and_consume(self, code: str, to: Recipient, *, ticket: str | None = None) -> None:
        """Accept a code once. Raises CodeWrong, or CodeExpired where no open code has attempts left for this client."""
        binding = self._binding(to)
        bound_to = self.bound_ticket(to, ticket)
        result = self._verify(code, binding, ticket=bound_to)
        if result.outcome is VerificationOutcome.EXPIRED and self.unbound is UnboundAttempts.COUNTED_APART:
            newest = self.store.newest(binding=binding)
            result = self._verify(code, binding, ticket=newest, is_unbound=newest != bound_to)
        if result.outcome is VerificationOutcome.EXPIRED:
            raise CodeExpired
        if result.outcome is VerificationOutcome.WRONG:
            raise CodeWrong(attempts_left=result.attempts_left)

    def bound_ticket(self, to: Recipient, ticket: str | None) -> str | None:
        """The ticket whose code decides for a client that presents `ticket`, or nothing; None if there is none."""
        if to.session_id is not None:
            return self._binding(to)
        if ticket is None and self.unbound is UnboundAttempts.AS_BOUND:
            return self.store.newest(binding=self._binding(to))
        return ticket

    def was_accepted(self, to: Recipient, *, ticket: str) -> bool:
        """Whether the code of a ticket was accepted and no other one was requested since."""
        return self.store.was_accepted(ticket=ticket, binding=self._binding(to))

    def _is_full(self, to: Recipient, codes_today: int | None) -> bool:
        return self.outbox.is_full(to.address) if codes_today is None else codes_today >= self.outbox.codes_a_day

    def _issue(self, to: Recipient, code: str, ticket: str | None) -> str | None:
        """Issue a code; returns the flow ticket that it belongs to, if it is not the session's. Raises TooManyCodes."""
        binding = self._binding(to)
        if to.session_id is not None:
            _refuse_while(self.store.issue(ticket=binding, binding=binding, code=code))
            return None
        ticket = self._issue_to_ticket(binding, code, self.bound_ticket(to, ticket))
        if self.unbound is not UnboundAttempts.REFUSED:
            self.store.remember_newest(ticket=ticket, binding=binding)
        return ticket

    def _issue_to_ticket(self, binding: str, code: str, ticket: str | None) -> str:
        """Issue a code to the client's ticket, or to a new one where that one is not of this binding.

        A ticket that an attacker planted, or that belongs to another user's code, is left alone.
        """
        if ticket is not None:
            wait = self.store.renew(ticket=ticket, binding=binding, code=code)
            if wait is not None:
                _refuse_while(wait)
                return ticket
        ticket = new_ticket()
        self.store.issue(ticket=ticket, binding=binding, code=code)
        return ticket

    def _verify(self, code: str, binding: str, *, ticket: str | None, is_unbound: bool = False) -> VerificationResult:
        if ticket is None:
            return VerificationResult(outcome=VerificationOutcome.EXPIRED)
        return self.store.verify_and_consume(ticket=ticket, binding=binding, code=code, is_unbound=is_unbound)

    def _binding(self, to: Recipient) -> str:
        return bind_code(
            purpose=self.kind,
            user_id=to.user_id,
            address=to.address,
            credential_version=to.credential_version,
            session_id=to.session_id,
        )


def _refuse_while(wait: timedelta) -> None:
    """Raise TooManyCodes for a ticket or session whose attempts are used up, until `wait` is over."""
    if wait:
        raise TooManyCodes(retry_after=wait.total_seconds())
