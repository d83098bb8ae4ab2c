"""Sender of emails (`MAIL_FROM`): an address with or without a display name, parsed strictly."""

import re
from typing import Any

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|=\\?.*\\?=")
"""Forbidden in headers of emails (header injection). Encoded words (RFC 2047) could decode to a line break."""

NAME = r'(?P<name>"(?:[^"\\]|\\.)*"|[^<>"]*?)'
MAILBOX = re.compile(rf"(?:{NAME}\s*<(?P<in_brackets>[^\s<>]+)>|(?P<bare>[^\s<>]+))")
SENDER_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*", re.ASCII)
LONGEST_NAME = 100


def header_text(value: str) -> str:
    """Accept a text that can be in the header of an email. Raises ValueError."""
    if CONTROL.search(value):
        raise ValueError("contains a line break, another control character or =?")
    return value


class Mailbox:
    """A sender of emails: `no-reply@example.org`, or with a display name `Portal <no-reply@example.org>`."""

    def __init__(self, text: str) -> None:
        """Parse the text of a setting. A name may be quoted, and needs no quotes. Raises ValueError."""
        parts = MAILBOX.fullmatch(header_text(text.strip()))
        self.address = (parts["in_brackets"] or parts["bare"]) if parts else ""
        if parts is None or not SENDER_ADDRESS.fullmatch(self.address):
            raise ValueError(
                "must be an address like no-reply@example.org, or Portal <no-reply@example.org>; the address is ASCII, "
                "with the xn-- form of an international domain"
            )
        name = (parts["name"] or "").strip()
        if name.startswith('"'):
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
        if len(name) > LONGEST_NAME:
            raise ValueError(f"the name before the address has at most {LONGEST_NAME} characters")
        self.name = name

    def __repr__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


def mailbox(value: Any) -> Any:
    """Parse the text of a setting into a Mailbox. Raises ValueError."""
    return value if isinstance(value, Mailbox) else Mailbox(str(value))
