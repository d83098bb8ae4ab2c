"""One-time codes by email (OTP): rate-limited, bound to purpose and account, verified once within five attempts."""

import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum

from auth_service.adapters.redis.code_store import (
    CodeStore,
    IssueResult,
    VerificationOutcome,
    VerificationResult,
    new_ticket,
)
from auth_service.errors import CodeExpired, CodeWrong, TooManyCodes
from auth_service.models.outbox_message import EmailKind
from auth_service.services.credentials.code_limits import CodeLimiter
from auth_service.services.email.addresses import Address
from auth_service.services.email.outbox import CodePlace, Outbox

CODE_DIGITS = 6

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeSent:
    """The result of sending a code: the same whether or not an email was written, to prevent user enumeration."""

    ticket: str | None
    """The flow ticket that the code belongs to; None for a code that belongs to a session."""
    expires_in: timedelta
    resend_after: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipient:
    """The user whom a code is for, and the address that it is sent to; see `bind_code` for what the code is bound to.

    For a decoy record all work is done except that no email is sent, so that neither the response nor its duration
    reveals whether the account exists (user enumeration, ASVS 6.3.8).
    """

    address: Address
    language: str
    user_id: int | None
    """None for an address without an account."""
    credential_version: int | None
    session_id: uuid.UUID | None
    """The session that the code belongs to; None for a code that belongs to a flow ticket."""
    is_decoy: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuedCode:
    """A code that Redis knows and whose email is not written yet."""

    to: Recipient
    code: str = field(repr=False)
    ticket: str | None = field(repr=False)
    place: CodePlace
    resend_after: timedelta


def bind_code(
    *,
    purpose: EmailKind,
    user_id: int | None,
    address: Address,
    credential_version: int | None,
    session_id: uuid.UUID | None,
) -> str:
    """Return the binding of a code: its purpose, user, address, credential version and session as one text.

    The digest of a code covers its binding, so that the code is wrong for any other one (ASVS 6.6.2). The binding is a
    JSON list: strings are quoted and an absent part is `null`, so different bindings never have the same text. With a
    plain separator an attacker could choose an address that contains it, and use a code for another user or session.
    """
    parts = [purpose, user_id, address.key, credential_version, None if session_id is None else session_id.hex]
    return _encode_json(parts)


def random_code() -> str:
    """Draw six digits from the CSPRNG of the operating system, leading zeros included (ASVS 6.5.3)."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"


class UnboundAttempts(Enum):
    """How an unbound attempt is treated: one without the flow ticket of the code."""

    REFUSED = "refused"
    """It finds no code. An attacker who knows only a user id can neither guess a code nor use up its attempts."""
    AS_BOUND = "as_bound"
    """It counts as an attempt with the newest ticket: for `local` and `test`, where clients may omit cookies, and for
    clients that have proved the first factor, whose codes belong to the user."""
    COUNTED_APART = "counted_apart"
    """It is checked against the newest code of the binding, and counted separately from the bound attempts.

    A client without cookies can use the code. An attacker who knows the address can use up only the unbound attempts,
    not the bound attempts of the client that holds the ticket (decision 11).
    """


class CodeNotEmailed(Exception):
    """The email was not written: concurrent requests reached the daily cap first, or the user was deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OneTimeCodes:
    """Sends and verifies the one-time codes of one purpose, which is the kind of their emails.

    A code belongs to a flow ticket or to a session. Five failed bound attempts invalidate it. A new code takes over the
    failed attempts of a code that is still valid, so that requesting codes does not help brute force (decision 3).
    """

    kind: EmailKind
    store: CodeStore
    limiter: CodeLimiter
    outbox: Outbox
    unbound: UnboundAttempts
    reveals_daily_cap: bool
    """Whether `send` raises an error at the daily cap of an address: only where the client knows that the user exists.

    Elsewhere the error would reveal the user, because only emails that were written count (user enumeration). There a
    code that cannot be guessed is issued, and nothing is emailed.
    """
    draw: Callable[[], str] = random_code

    def __post_init__(self) -> None:
        """Raise ValueError for a kind of email that carries no code."""
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
        """Email a code, which replaces the code that its ticket or session had before.

        `network` is the network of the client, `ticket` the flow ticket that the client sent, `codes_today` the number
        of codes to the address in the last 24 hours, if it was read already. `client_supplied` is used instead of a
        random code: the caller decides whether the client may choose one. Raises TooManyCodes and RedisUnavailable, and
        CodeNotEmailed only if `reveals_daily_cap`.
        """
        # Redis before PostgreSQL: if the commit fails, the user requests another code. In the opposite order an email
        # could carry a code that does not exist.
        issued = self.issue(
            to, network=network, ticket=ticket, client_supplied=client_supplied, codes_today=codes_today
        )
        emailed = self.email(issued)
        if self.reveals_daily_cap and not emailed:
            raise CodeNotEmailed
        return CodeSent(ticket=issued.ticket, expires_in=self.store.code_lifetime, resend_after=issued.resend_after)

    def issue(
        self,
        to: Recipient,
        *,
        network: str,
        ticket: str | None = None,
        client_supplied: str | None = None,
        codes_today: int | None = None,
    ) -> IssuedCode:
        """Issue a code without its email, for a flow that emails it later in its transaction; else as `send`.

        Redis only: no transaction has to be open meanwhile. Raises TooManyCodes and RedisUnavailable.
        """
        if self.reveals_daily_cap and self._is_full(to, codes_today):
            raise self.outbox.daily_cap_error(to.address)
        resend_after = self.limiter.count(key=to.address.key, network=network)
        code = client_supplied or self.draw()
        if not self.reveals_daily_cap and self._is_full(to, codes_today):
            to, code = replace(to, is_decoy=True), secrets.token_urlsafe()
        ticket, place = self._issue(to, code, ticket)
        return IssuedCode(to=to, code=code, ticket=ticket, place=place, resend_after=resend_after)

    def email(self, issued: IssuedCode) -> bool:
        """Write the email with an issued code; return False if the daily cap is reached or the user was deleted."""
        to = issued.to
        return self.outbox.put_code(
            kind=self.kind,
            to=to.address,
            user_id=None if to.is_decoy else to.user_id,
            language=to.language,
            values={"code": issued.code, "minutes": self.store.code_lifetime // timedelta(minutes=1)},
            ttl=self.store.code_lifetime,
            place=issued.place,
        )

    def verify_and_consume(self, code: str, to: Recipient, *, ticket: str | None = None) -> str:
        """Verify a code and invalidate it; return its ticket, for `withdraw_email`.

        Raises CodeWrong, or CodeExpired if there is no valid code with attempts left for this client.
        """
        binding = self._binding(to)
        used = bound_to = self.bound_ticket(to, ticket)
        result = self._verify(code, binding, ticket=bound_to)
        if result.outcome is VerificationOutcome.EXPIRED and self.unbound is UnboundAttempts.COUNTED_APART:
            used = self.store.newest(binding=binding)
            result = self._verify(code, binding, ticket=used, is_unbound=used != bound_to)
        if result.outcome is VerificationOutcome.EXPIRED or used is None:
            raise CodeExpired
        if result.outcome is VerificationOutcome.WRONG:
            raise CodeWrong(attempts_left=result.attempts_left)
        return used

    def withdraw_email(self, ticket: str) -> None:
        """Withdraw the email with the code of a ticket, if it still waits, in the current unit of work.

        Not part of `verify_and_consume`: flows lock the user before its emails, and a change of the credentials
        withdraws the emails of all codes.
        """
        self.outbox.withdraw_code(self.store.slot(ticket))

    def bound_ticket(self, to: Recipient, ticket: str | None) -> str | None:
        """Return the ticket whose code a client with the flow ticket `ticket` may use, or None.

        For a code of a session that is the binding, which contains the id of the session.
        """
        if to.session_id is not None:
            return self._binding(to)
        if ticket is None and self.unbound is UnboundAttempts.AS_BOUND:
            return self.store.newest(binding=self._binding(to))
        return ticket

    def was_accepted(self, to: Recipient, *, ticket: str) -> bool:
        """Whether the code of a ticket was accepted, and no other code was requested since."""
        return self.store.was_accepted(ticket=ticket, binding=self._binding(to))

    def _is_full(self, to: Recipient, codes_today: int | None) -> bool:
        return self.outbox.is_full(to.address) if codes_today is None else codes_today >= self.outbox.codes_a_day

    def _issue(self, to: Recipient, code: str, ticket: str | None) -> tuple[str | None, CodePlace]:
        """Issue a code; return its flow ticket, None for a code of a session, and its place. Raises TooManyCodes."""
        binding = self._binding(to)
        if to.session_id is not None:
            result = self.store.issue(ticket=binding, binding=binding, code=code)
            _check_wait(result)
            return None, CodePlace(slot=self.store.slot(binding), number=result.number)
        ticket, number = self._issue_to_ticket(binding, code, self.bound_ticket(to, ticket))
        if self.unbound is not UnboundAttempts.REFUSED:
            self.store.remember_newest(ticket=ticket, binding=binding)
        return ticket, CodePlace(slot=self.store.slot(ticket), number=number)

    def _issue_to_ticket(self, binding: str, code: str, ticket: str | None) -> tuple[str, int]:
        """Issue a code to the ticket of the client, or to a new one if that is unknown or has another binding.

        The binding check rejects a ticket that an attacker planted in the browser of the user (login CSRF). Raises
        TooManyCodes.
        """
        if ticket is not None:
            renewed = self.store.renew(ticket=ticket, binding=binding, code=code)
            if renewed is not None:
                _check_wait(renewed)
                return ticket, renewed.number
        ticket = new_ticket()
        return ticket, self.store.issue(ticket=ticket, binding=binding, code=code).number

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


def _check_wait(result: IssueResult) -> None:
    """Raise TooManyCodes if a ticket or session has used up its attempts."""
    if result.wait:
        raise TooManyCodes(retry_after=result.wait.total_seconds())
