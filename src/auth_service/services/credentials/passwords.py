"""Passwords: which may be chosen, and keeping them as hashes."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from auth_service.adapters.crypto.password_hasher import PasswordHasher, PasswordVerdict
from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.errors import ServiceBusy, TooManyAttempts, ValidationFailed

MAX_LENGTH = 128
MOST_ORNAMENTS = 6
"""Digits, spaces and punctuation around a word that leave it a word: a year and two signs, for instance."""

SHORTEST_WORD = 4
"""Characters of a part of the address that a password may not consist of."""

COMMON = frozenset(FREQUENCY_LISTS["passwords"])
"""Thirty thousand passwords that attackers try first, in lower case (zxcvbn's list)."""

FEWEST_GUESSES = 50_000
"""By zxcvbn's estimate. Its list leaves out what its other rules find: repeats, rows of the keyboard, years, a list's
words with the usual ornaments."""

LOOKED_AT = 24
"""The characters at either end that are estimated: all 128 at once could take seconds of a processor."""

ALIKE = str.maketrans("@(<[{!|$+", "4cccc1157")
"""Signs that are read like another one, as that one. zxcvbn tries every combination of what they may stand for: a third
of a second of a processor for the two dozen characters that have most of them."""

REASONS = {
    "too_short": "A password has at least {shortest} characters.",
    "too_long": "A password has at most {longest} characters.",
    "control_characters": "A password has no control characters.",
    "common": "This is one of the most common passwords.",
    "guessable": "This is one of the first passwords that somebody would guess.",
    "context": "A password is not the address or the name of the service.",
    "unchanged": "This is the password that the account has already.",
}
"""Why a new password is refused: a stable word for programs, and a sentence for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passwords:
    """The rules of new passwords, and their hashes. No composition rules: NIST SP 800-63B-4 3.1.1.2."""

    hasher: PasswordHasher
    min_length: int
    service_name: str

    def check_and_hash(self, password: str, *, email: str, field: str = "password") -> str:
        """Check a new password against the rules and hash it. Raises as `check` and `hashed` do."""
        self.check(password, email=email, field=field)
        return self.hash(password)

    def hash(self, password: str) -> str:
        """Hash a password that `check` has let through, or that just matched an outdated hash.

        Raises ServiceBusy when too many are being hashed. Takes about 30 ms of a processor: never call it inside an
        open transaction.
        """
        return self.hasher.hash(normalised(password))

    def check(self, password: str, *, email: str, field: str = "password", current: str | None = None) -> None:
        """Check a new password against the rules; `current` is what it takes the place of, where that is known.

        Raises ValidationFailed for the `field` with the reason, as a sentence and as a word for programs.
        """
        chosen = normalised(password)
        reason = self._reason_against(chosen, email)
        if reason is None and current is not None and chosen == normalised(current):
            reason = "unchanged"
        if reason is not None:
            said = REASONS[reason].format(shortest=self.min_length, longest=MAX_LENGTH)
            raise ValidationFailed(fields=[{"field": field, "reason": reason, "msg": said}])

    def ensure_capacity(self) -> None:
        """Raise ServiceBusy if a password could not be hashed now: before anything is counted, asked or written."""
        self.hasher.ensure_capacity()

    def verify(self, password: str, password_hash: str | None) -> PasswordVerdict:
        """Whether the password made this hash, and whether the hash is outdated; see `PasswordHasher.verify`.

        Takes as long where there is no hash. Raises ServiceBusy.
        """
        return self.hasher.verify(normalised(password), password_hash, typed=password)

    def attempt(
        self,
        password: str,
        password_hash: str | None,
        *,
        throttle: LoginThrottle,
        counted_as: str,
        subject: str,
        trusted: bool = False,
    ) -> PasswordVerdict:
        """The same, of an attempt that is counted before any work is done; see `LoginThrottle.attempt`.

        Taken back is one that is right, or never judged, of which nobody has learnt anything. Raises TooManyAttempts,
        ServiceBusy.
        """
        attempt = throttle.attempt(counted_as, subject, trusted=trusted)
        if attempt.wait:
            raise TooManyAttempts(retry_after=attempt.wait.total_seconds())
        try:
            verdict = self.verify(password, password_hash)
        except ServiceBusy:
            throttle.refund(counted_as, subject, attempt)
            raise
        if verdict.matches:
            throttle.refund(counted_as, subject, attempt)
        return verdict

    def _reason_against(self, chosen: str, email: str) -> str | None:
        if len(chosen) < self.min_length:
            return "too_short"
        if len(chosen) > MAX_LENGTH:
            return "too_long"
        if any(unicodedata.category(character) == "Cc" for character in chosen):
            return "control_characters"
        return self._why_easy(chosen, email)

    def _why_easy(self, chosen: str, email: str) -> str | None:
        """Why somebody would guess it soon, if so."""
        if chosen.casefold() in COMMON:
            return "common"
        own_words = list(self._own_words(email))
        letters = _only_letters(chosen)
        dressed = len(chosen) - len(letters) <= MOST_ORNAMENTS and letters in {
            word * times for word in own_words for times in (1, 2, 3)
        }
        if dressed or chosen.casefold() in own_words:
            return "context"
        if not _is_guessable(chosen, own_words):
            return None
        return "guessable" if _is_guessable(chosen, []) else "context"

    def _own_words(self, email: str) -> Iterator[str]:
        """What strangers know of the person and of us, in lower case."""
        for name in (email.casefold(), self.service_name.casefold()):
            for word in (name, *name.split("@"), *re.split(r"[\W_]+", name)):
                yield from {word, _only_letters(word)} if len(word) >= SHORTEST_WORD else ()


def _is_guessable(chosen: str, own_words: list[str]) -> bool:
    read, own_words = chosen.translate(ALIKE), [word.translate(ALIKE) for word in own_words]
    ends = {read[:LOOKED_AT], read[-LOOKED_AT:]}
    return all(zxcvbn(end, user_inputs=own_words)["guesses"] < FEWEST_GUESSES for end in ends)


def _only_letters(text: str) -> str:
    """The letters, in lower case: `Ada2026!` is `ada`."""
    return "".join(filter(str.isalpha, text.casefold()))


def normalised(password: str) -> str:
    """The one form that is checked and hashed (NFKC), whatever keyboard it was typed on."""
    return unicodedata.normalize("NFKC", password)
