"""Emails that the fake SMTP server accepted, and the ways in which it fails."""

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Literal

Mode = Literal["normal", "4xx", "5xx", "tarpit", "drop after DATA", "refuse"]
"""normal: accept everything · 4xx, 5xx: reject recipients transiently or permanently · tarpit: one byte of a reply each
`drip` · drop after DATA: accept the email and hang up without a reply · refuse: stop listening, end connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkMessage:
    """An email that the sink accepted."""

    at: float
    """When it was complete, in seconds since the epoch."""
    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    talk: int
    """The number of its connection."""
    encrypted: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.raw, policy=policy.default)

    @property
    def message_id(self) -> str:
        # Parsing the whole email takes longer than sending it.
        match = re.search(rb"^Message-ID:\s*(<[^>]*>)", self.raw, re.MULTILINE | re.IGNORECASE)
        return match[1].decode() if match else ""
