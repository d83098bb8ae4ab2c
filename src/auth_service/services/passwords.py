"""Passwords: which may be chosen, and keeping them as hashes."""

import unicodedata
from dataclasses import dataclass

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from auth_service.adapters.hasher import Hasher, Verdict
from auth_service.errors import ValidationFailed

LONGEST = 128

COMMON = frozenset(FREQUENCY_LISTS["passwords"])
"""Thirty thousand passwords that attackers try first, in lower case (zxcvbn's list)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passwords:
    """The rules of new passwords, and their hashes. No composition rules: NIST SP 800-63B-4 3.1.1.2."""

    hasher: Hasher
    shortest: int
    service_name: str

    def hashed(self, password: str, *, email: str, field: str = "password") -> str:
        """Check a new password against the rules and hash it.

        Raises ValidationFailed for the `field` with the reason; ServiceBusy when too many are being hashed. Takes about
        30 ms of a processor: never call it inside an open transaction.
        """
        chosen = normalised(password)
        if reason := self._reason_against(chosen, email):
            raise ValidationFailed(fields=[{"field": field, "msg": reason}])
        return self.hasher.hash(chosen)

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
            return f"A password has at least {self.shortest} characters."
        if len(chosen) > LONGEST:
            return f"A password has at most {LONGEST} characters."
        if any(unicodedata.category(character) == "Cc" for character in chosen):
            return "A password has no control characters."
        if folded in COMMON:
            return "This is one of the most common passwords."
        if folded in own_words or folded.strip("0123456789") in own_words:
            return "A password is not the address or the name of the service."
        return None


def normalised(password: str) -> str:
    """The one form that is checked and hashed (NFKC), whatever keyboard it was typed on."""
    return unicodedata.normalize("NFKC", password)
