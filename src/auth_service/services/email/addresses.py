"""Email addresses: validation, the deliverable form that email is sent to, and the normalised form for comparison."""

import re
import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.invisible_characters import ZERO_WIDTH, trimmed, without_zero_width

LONGEST = 254
"""The longest address in bytes: what SMTP can carry in a path (RFC 5321 4.5.3.1.3), without the angle brackets."""

JOINERS = frozenset("\u200c\u200d")
_JOINED = re.compile("[^\x00-\x7f\u200c\u200d][\u200c\u200d]")
"""A joiner after a non-ASCII letter, where it can distinguish two domains (RFC 5892, A.1 and A.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A valid address."""

    stored: str
    """The deliverable form: ASCII, the domain as A-labels, the local part as its owner writes it."""
    key: str
    """The normalised form: `Victim@ＥXAMPLE.com` and `victim@example.com` share it."""


def parse(text: str) -> Address:
    """Validate an address. Raises FieldInvalid, whose text may contain parts of the address.

    White space around the address and zero-width characters anywhere in it are removed: pasting adds them, and two
    users must not have addresses that look alike. The address is normalised (NFKC) before it is validated, so that no
    character can become special after the validation. Quoted local parts, comments, address literals, lists and
    non-ASCII local parts are refused; the reserved domain `.test` (RFC 2606) is accepted for tests of front ends.
    """
    address = _visible(text)
    try:
        validated = validate_email(
            address,
            check_deliverability=False,
            allow_smtputf8=False,
            test_environment=True,
            strict=True,  # also bounds the local part (RFC 5321 4.5.3.1.1): no server would take a longer one
        )
    except EmailNotValidError as refused:
        is_ascii = address.rpartition("@")[0].isascii()
        reason = FieldReason.EMAIL_INVALID if is_ascii else FieldReason.EMAIL_NOT_ASCII
        raise FieldInvalid(reason, str(refused)) from None
    stored = validated.ascii_email
    if stored is None or len(stored.encode()) > LONGEST:
        raise FieldInvalid(FieldReason.TOO_LONG, "The email address is too long.")
    if "=?" in stored:
        # The beginning of an encoded word (RFC 2047), which mail programs decode in a header.
        message = "The email address contains =?, which mail programs read as something else."
        raise FieldInvalid(FieldReason.EMAIL_INVALID, message)
    return Address(stored=stored, key=stored.casefold())


def _visible(text: str) -> str:
    """Return the visible characters of an address, normalised. Raises FieldInvalid."""
    visible = without_zero_width(text)
    if len(visible) > LONGEST:
        raise FieldInvalid(FieldReason.TOO_LONG, f"Send at most {LONGEST} characters.")
    if any(character.isspace() for character in visible):
        message = "Remove the spaces from the email address; in a query string send + as %2B."
        raise FieldInvalid(FieldReason.EMAIL_HAS_SPACES, message)
    if not JOINERS.isdisjoint(text) and _JOINED.search(_with_joiners(text)):
        message = "The domain has invisible joiners, which can distinguish two domains; send it without them."
        raise FieldInvalid(FieldReason.EMAIL_HAS_JOINERS, message)
    return unicodedata.normalize("NFKC", visible)


def _with_joiners(text: str) -> str:
    return "".join(character for character in trimmed(text) if character in JOINERS or character not in ZERO_WIDTH)


def masked(address: Address) -> str:
    """Mask an address, for an email to a reader who must not learn it: `g***@example.org`."""
    local, _, domain = address.stored.rpartition("@")
    return f"{local[0]}***@{domain}"
