"""Email addresses: validation, the deliverable form that email is sent to, and the normalised form for comparison."""

import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

LONGEST = 254
"""Bytes; what SMTP can carry in a path (RFC 5321 4.5.3.1.3, less the angle brackets)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A valid address."""

    stored: str
    """The deliverable form: ASCII, the domain as A-labels, the local part as its owner writes it."""
    key: str
    """The normalised form: `Victim@ＥXAMPLE.com` and `victim@example.com` share it."""


def parse(text: str) -> Address:
    """Validate an address. Raises ValueError with a sentence for users.

    It is normalised before it is validated (NFKC), so that no character can become special after the validation. Quoted
    local parts, comments, address literals, lists and non-ASCII local parts are refused; the reserved domain `.test`
    (RFC 2606) is accepted, so that front ends have something to test with.
    """
    try:
        validated = validate_email(
            unicodedata.normalize("NFKC", text),
            check_deliverability=False,
            allow_smtputf8=False,
            test_environment=True,
            strict=True,  # also bounds the local part (RFC 5321 4.5.3.1.1): no server would take a longer one
        )
    except EmailNotValidError as refused:
        raise ValueError(str(refused)) from None
    stored = validated.ascii_email
    if stored is None or len(stored.encode()) > LONGEST:
        raise ValueError("The email address is too long.")
    if "=?" in stored:
        # The beginning of an encoded word (RFC 2047), which mail programs decode in a header.
        raise ValueError("The email address contains =?, which mail programs read as something else.")
    return Address(stored=stored, key=stored.casefold())


def masked(address: Address) -> str:
    """An address for a reader who must not learn it: `g***@example.org`."""
    local, _, domain = address.stored.rpartition("@")
    return f"{local[0]}***@{domain}"
