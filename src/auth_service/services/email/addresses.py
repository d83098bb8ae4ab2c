"""E-mail addresses: which are taken, the form that mail is sent to, and the form that is compared."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

LONGEST = 254
"""Bytes; what SMTP can carry in a path (RFC 5321 4.5.3.1.3, less the angle brackets)."""

LONGEST_LOCAL_PART = 64
"""Bytes (RFC 5321 4.5.3.1.1)."""


# What most people have, and what checking could not change: nothing in it has a second spelling or a special meaning.
PLAIN = re.compile(r"([a-z0-9]+(?:[._+-][a-z0-9]+)*)@([a-z0-9.-]+)", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """An address that somebody can have."""

    stored: str
    """The deliverable form: ASCII, the domain as A-labels, the local part as its owner writes it."""
    key: str
    """The normalised form: `Victim@ＥXAMPLE.com` and `victim@example.com` share it."""


def parse(text: str) -> Address:
    """Read an address. Raises ValueError with a sentence for people.

    Normalised before it is checked (NFKC), so that nothing can become special after the check. Quoted local parts,
    comments, address literals, lists and non-ASCII local parts are refused; the reserved domain `.test` (RFC 2606) is
    taken, so that front ends have something to test with.
    """
    plain = PLAIN.fullmatch(text)
    if plain and len(text) <= LONGEST and len(plain[1]) <= LONGEST_LOCAL_PART and _is_plain_domain(plain[2]):
        return Address(stored=text, key=text)
    return checked(unicodedata.normalize("NFKC", text))


def masked(address: Address) -> str:
    """An address as somebody may see it who need not know it: `g***@example.org`."""
    local, _, domain = address.stored.rpartition("@")
    return f"{local[0]}***@{domain}"


@lru_cache(maxsize=4096)
def _is_plain_domain(domain: str) -> bool:
    """Whether mail can be sent to this domain under this very name. Remembered: many people share few domains."""
    try:
        return checked(f"x@{domain}").stored == f"x@{domain}"
    except ValueError:
        return False


def checked(normal: str) -> Address:
    """Read an address in normal form, by all rules. Raises ValueError with a sentence for people."""
    try:
        found = validate_email(
            normal,
            check_deliverability=False,
            allow_smtputf8=False,
            test_environment=True,
            strict=True,  # also bounds the local part (RFC 5321 4.5.3.1.1): no server would take a longer one
        )
    except EmailNotValidError as refused:
        raise ValueError(str(refused)) from None
    stored = found.ascii_email
    if stored is None or len(stored.encode()) > LONGEST:
        raise ValueError("The email address is too long.")
    if "=?" in stored:
        # The beginning of an encoded word (RFC 2047), which mail programs decode where they meet it in a header.
        raise ValueError("The email address contains =?, which mail programs read as something else.")
    return Address(stored=stored, key=stored.casefold())
