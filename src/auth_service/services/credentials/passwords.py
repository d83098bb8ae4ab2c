"""Passwords: rules for new passwords (NIST SP 800-63B-4), hashing, verification under the login throttle."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from auth_service.adapters.crypto.password_hasher import PasswordHasher, PasswordMatch
from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.errors import ServiceBusy, TooManyAttempts, ValidationFailed
from auth_service.errors.fields import FieldError, FieldReason
from auth_service.services.email.addresses import Address

THROTTLE = "sign_in"
"""The name under which failed attempts at passwords are counted."""

MAX_LENGTH = 128
"""Characters of a password, after normalisation."""

MAX_DECORATION = 6
"""A context word with up to this many digits, spaces and punctuation marks is still a context word: `Ada2026!`."""

MIN_CONTEXT_WORD = 4
"""The shortest part of the address or of the service name, in characters, that counts as a context word."""

COMMON = frozenset(FREQUENCY_LISTS["passwords"])
"""The thirty thousand most common passwords, in lower case (the list of zxcvbn; ASVS 6.2.4)."""

MIN_GUESSES = 50_000
"""The fewest guesses, as estimated by zxcvbn, that a new password must require. Rejects what COMMON lacks: repeats,
keyboard rows, years, and common words with the usual digits and signs added."""

ESTIMATED_LENGTH = 24
"""The characters at the beginning and at the end that zxcvbn estimates. For 128 characters it could need seconds of CPU
time (denial of service)."""

ALIKE = str.maketrans("@(<[{!|$+", "4cccc1157")
"""Maps the substitutes of a letter to one of them: `@` to `4`, both for `a`. Without the map zxcvbn tries all
combinations, which takes a third of a second of CPU time for the worst 24 characters (denial of service)."""

REASONS = {
    FieldReason.TOO_SHORT: "Send a password of at least {min_length} characters.",
    FieldReason.TOO_LONG: "Send a password of at most {max_length} characters.",
    FieldReason.CONTROL_CHARACTERS: "Remove the control characters from the password.",
    FieldReason.COMMON: "Choose another password: this is one of the most common ones.",
    FieldReason.GUESSABLE: "Choose another password: this is one of the first that an attacker would try.",
    FieldReason.CONTEXT: "Choose a password that is not the address or the name of the service.",
    FieldReason.UNCHANGED: "Choose a password that differs from the current one.",
}
"""Why a new password is rejected: a stable `reason` for programs, and a message for users."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passwords:
    """Checks new passwords, hashes and verifies passwords.

    There are no composition rules (NIST SP 800-63B-4 3.1.1.2).
    """

    hasher: PasswordHasher
    min_length: int
    service_name: str

    def check_and_hash(self, password: str, *, email: str, field: str = "password") -> str:
        """Check a new password against the rules and hash it. Raises what `check` and `hash` raise."""
        self.check(password, email=email, field=field)
        return self.hash(password)

    def hash(self, password: str) -> str:
        """Hash a password that `check` accepted, or that just matched an outdated hash; return the hash in PHC form.

        Takes about 30 ms of CPU time: never call it inside an open transaction. Raises ServiceBusy when too many
        passwords are being hashed.
        """
        return self.hasher.hash(normalised(password))

    def check(self, password: str, *, email: str, field: str = "password", current: str | None = None) -> None:
        """Check a new password against the rules; `current` is the one that it replaces, where the client sent that.

        Raises ValidationFailed for the `field`, with one of `REASONS` and its message.
        """
        new_password = normalised(password)
        reason = self._rejection_reason(new_password, email)
        if reason is None and current is not None and new_password == normalised(current):
            reason = FieldReason.UNCHANGED
        if reason is not None:
            message = REASONS[reason].format(min_length=self.min_length, max_length=MAX_LENGTH)
            raise ValidationFailed(FieldError(field=field, reason=reason, msg=message))

    def ensure_capacity(self) -> None:
        """Raise ServiceBusy if no password can be hashed now. Call it before anything is counted, sent or written."""
        self.hasher.ensure_capacity()

    def verify(self, password: str, password_hash: str | None) -> PasswordMatch:
        """Verify a password against a hash, and find out whether the hash is outdated; see `PasswordHasher.verify`.

        Without a hash (None) the work is the same, with a dummy hash: prevents user enumeration by timing (ASVS 6.3.8).
        Raises ServiceBusy.
        """
        return self.hasher.verify(normalised(password), password_hash, typed=password)

    def attempt(
        self,
        password: str,
        password_hash: str | None,
        *,
        throttle: LoginThrottle,
        address: Address,
        network: str,
        known_device: str | None,
    ) -> PasswordMatch:
        """Verify the password of the account with this address under the login throttle.

        This is the only way to verify a password, so that all paths share one count of failed attempts (PW12): sign-in,
        reauthentication and the repeated end of a registration. A known device has its own count: brute force against
        the address, or against all addresses, does not lock the owner out on that device.

        The attempt is counted before the password is verified, so that concurrent attempts cannot exceed the limit
        (brute force). It is refunded if the password is correct, or if it could not be verified: only wrong passwords
        count. Raises TooManyAttempts, ServiceBusy.
        """
        subject = f"device {known_device}" if known_device else f"address {address.key}"
        attempt = throttle.attempt(
            THROTTLE, subject, network="" if known_device else network, known_device=known_device is not None
        )
        if attempt.wait:
            raise TooManyAttempts(retry_after=attempt.wait.total_seconds())
        try:
            result = self.verify(password, password_hash)
        except ServiceBusy:
            throttle.refund(THROTTLE, subject, attempt)
            raise
        if result.matches:
            throttle.refund(THROTTLE, subject, attempt)
        return result

    def _rejection_reason(self, new_password: str, email: str) -> FieldReason | None:
        if len(new_password) < self.min_length:
            return FieldReason.TOO_SHORT
        if len(new_password) > MAX_LENGTH:
            return FieldReason.TOO_LONG
        if any(unicodedata.category(character) == "Cc" for character in new_password):
            return FieldReason.CONTROL_CHARACTERS
        return self._guessing_reason(new_password, email)

    def _guessing_reason(self, new_password: str, email: str) -> FieldReason | None:
        """Return why an attacker would guess the password early, or None."""
        if new_password.casefold() in COMMON:
            return FieldReason.COMMON
        context_words = list(self._context_words(email))
        letters = _only_letters(new_password)
        is_decorated_word = len(new_password) - len(letters) <= MAX_DECORATION and letters in {
            word * times for word in context_words for times in (1, 2, 3)
        }
        if is_decorated_word or new_password.casefold() in context_words:
            return FieldReason.CONTEXT
        if not _is_guessable(new_password, context_words):
            return None
        return FieldReason.GUESSABLE if _is_guessable(new_password, []) else FieldReason.CONTEXT

    def _context_words(self, email: str) -> Iterator[str]:
        """Yield the address, the service name and their parts in lower case (ASVS 6.2.11)."""
        for name in (email.casefold(), self.service_name.casefold()):
            for word in (name, *name.split("@"), *re.split(r"[\W_]+", name)):
                yield from {word, _only_letters(word)} if len(word) >= MIN_CONTEXT_WORD else ()


def _is_guessable(new_password: str, context_words: list[str]) -> bool:
    password, words = new_password.translate(ALIKE), [word.translate(ALIKE) for word in context_words]
    ends = {password[:ESTIMATED_LENGTH], password[-ESTIMATED_LENGTH:]}
    return all(zxcvbn(end, user_inputs=words)["guesses"] < MIN_GUESSES for end in ends)


def _only_letters(text: str) -> str:
    """Return the letters in lower case: `ada` for `Ada2026!`."""
    return "".join(filter(str.isalpha, text.casefold()))


def normalised(password: str) -> str:
    """Return the NFKC form, which is checked and hashed: the same for every keyboard (NIST SP 800-63B-4 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
