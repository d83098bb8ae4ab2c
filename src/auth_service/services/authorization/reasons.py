"""Reasons that administrators give for an operation; the audit log keeps them."""

from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.invisible_characters import trimmed
from auth_service.services.email.rendering import FORBIDDEN

SHORTEST, LONGEST = 3, 500
"""In characters, without white space at the ends."""


def one_line(text: str) -> str:
    """Return a reason that emails can contain. Raises FieldInvalid for control characters (header injection)."""
    if FORBIDDEN.search(text):
        message = "Send the reason as one line of text, without control characters and without =?…?=."
        raise FieldInvalid(FieldReason.MALFORMED, message)
    return text


def parse(text: str) -> str:
    """Return a reason without white space at its ends. Raises FieldInvalid."""
    text = trimmed(text)
    if not SHORTEST <= len(text) <= LONGEST:
        reason = FieldReason.TOO_SHORT if len(text) < SHORTEST else FieldReason.TOO_LONG
        raise FieldInvalid(reason, f"Send a reason of {SHORTEST} to {LONGEST} characters.")
    return one_line(text)
