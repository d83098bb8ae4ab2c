"""Passwords: which may be chosen, and keeping them as hashes."""

import unicodedata
from dataclasses import dataclass

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from auth_service.adapters.hasher import Hasher, Verdict
from auth_service.errors import ValidationFailed

LONGEST = 128

COMMON = frozenset(FREQUENCY_LISTS["passwords"])
"""Thirty thousand passwords that attackers try first, in lower case (zxcvbn's list)."""

REASONS = {
    "too_short": "A password has at least {shortest} characters.",
    "too_long": "A password has at most {longest} characters.",
    "control_characters": "A password has no control characters.",
    "common": "This is one of the most common passwords.",
    "context": "A password is not the address or the name of the service.",
    "unchanged": "This is the password that the account has already.",
}
"""Why a new password is refused: a stable word for programs, and a sentence for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passwords:
    """The rules of new passwords, and their hashes. No composition rules: NIST SP 800-63B-4 3.1.1.2."""

    hasher: Hasher
    shortest: int
    service_name: str

    def hashed(self, password: str, *, email: str, field: str = "password") -> str:
        """Check a new password against the rules and hash it.

        Raises ValidationFailed as `check` does; ServiceBusy when too many are being hashed. Takes about 30 ms of a
        processor: never call it inside an open transaction.
        """
        self.check(password, email=email, field=field)
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
            said = REASONS[reason].format(shortest=self.shortest, longest=LONGEST)
            raise ValidationFailed(fields=[{"field": field, "reason": reason, "msg": said}])

    def make_sure_of_room(self) -> None:
        """Raise ServiceBusy if a password could not be hashed now: before anything is counted, asked or written."""
        self.hasher.make_sure_of_room()

    def verdict(self, password: str, phc: str | None) -> Verdict:
        """Whether the password made this hash, and whether the hash is outdated; see `Hasher.verify`.

        Takes as long where there is no hash. Raises ServiceBusy.
        """
        return self.hasher.verify(normalised(password), phc, typed=password)

    def match(self, password: str, phc: str | None) -> bool:
        """Whether the password made this hash; never, where there is none. Raises ServiceBusy."""
        return self.verdict(password, phc).matches

    def rehashed(self, password: str) -> str:
        """Hash anew what just matched an outdated hash, whatever is asked of new passwords. Raises ServiceBusy."""
        return self.hasher.hash(normalised(password))

    def _reason_against(self, chosen: str, email: str) -> str | None:
        folded = chosen.casefold()
        own_words = {email.casefold(), email.casefold().rpartition("@")[0], self.service_name.casefold()}
        if len(chosen) < self.shortest:
            return "too_short"
        if len(chosen) > LONGEST:
            return "too_long"
        if any(unicodedata.category(character) == "Cc" for character in chosen):
            return "control_characters"
        if folded in COMMON:
            return "common"
        if folded in own_words or folded.strip("0123456789") in own_words:
            return "context"
        return None


def normalised(password: str) -> str:
    """The one form that is checked and hashed (NFKC), whatever keyboard it was typed on."""
    return unicodedata.normalize("NFKC", password)
