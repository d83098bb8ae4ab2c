"""Flow tickets of second steps and of passkey ceremonies: sealed values that need no Redis."""

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from auth_service import clock
from auth_service.adapters.crypto.keys import NONCE_BYTES, base64url, derived_key, from_base64url

TTL = timedelta(minutes=5)
"""How long a flow ticket is valid."""

LONGEST = 1024
"""Characters of the longest flow ticket. A longer text is rejected without decryption."""

_PADDING = 32
"""The content is padded to a multiple of this, so that the length of a ticket reveals neither user nor methods."""


class TicketPurpose(StrEnum):
    """The flow that a flow ticket belongs to; another flow rejects it."""

    SECOND_STEP = "second_step"
    PASSKEY_SIGN_IN = "passkey_sign_in"
    PASSKEY_SECOND_STEP = "passkey_second_step"
    PASSKEY_REAUTHENTICATION = "passkey_reauthentication"
    PASSKEY_REGISTRATION = "passkey_registration"


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowTicket:
    """The content of a flow ticket."""

    purpose: TicketPurpose
    transport: str
    """The transport of the tokens at the end of the flow: `bearer` or `cookie`."""
    user_id: int | None = None
    """None as long as the user is unknown."""
    credential_version: int | None = None
    """A change of the password or the address makes the ticket useless."""
    amr: Sequence[str] = ()
    """The authentication methods that were verified before (RFC 8176)."""
    session_id: uuid.UUID | None = None
    """The session that the flow belongs to; None for a sign-in."""
    challenge: bytes | None = field(default=None, repr=False)
    """The challenge of a passkey ceremony."""
    first_step: bytes | None = None
    """The digest of the ticket of the first step, for a ticket that continues it: one session consumes both."""


class FlowTickets:
    """Seals and opens flow tickets: AES-256-GCM, with the purpose as associated data.

    A ticket is not stored. The row that its flow creates contains the digest of the ticket under a unique constraint,
    so a ticket creates one row.
    """

    def __init__(self, secret: str, *, ttl: timedelta = TTL) -> None:
        """`secret` is `SECOND_FACTOR_KEY`, from which the key of the tickets is derived."""
        self.ttl = ttl
        self._cipher = AESGCM(derived_key(secret, purpose="flow tickets"))

    def seal(self, ticket: FlowTicket) -> str:
        """Return the text of a ticket that is valid for `ttl` from now."""
        content = {
            "transport": ticket.transport,
            "user": ticket.user_id,
            "version": ticket.credential_version,
            "amr": list(ticket.amr),
            "session": ticket.session_id and ticket.session_id.hex,
            "challenge": ticket.challenge and ticket.challenge.hex(),
            "first_step": ticket.first_step and ticket.first_step.hex(),
            "until": (clock.now() + self.ttl).timestamp(),
        }
        plain = json.dumps({name: value for name, value in content.items() if value is not None}).encode()
        plain += b" " * (-len(plain) % _PADDING)
        nonce = os.urandom(NONCE_BYTES)
        return base64url(nonce + self._cipher.encrypt(nonce, plain, ticket.purpose.encode()))

    def open(self, text: str, *, purpose: TicketPurpose) -> FlowTicket | None:
        """Return the content of a ticket; None unless it was sealed here, for this purpose, and has not expired."""
        try:
            raw = from_base64url(text) if len(text) <= LONGEST else b""
            content = json.loads(self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], purpose.encode()))
        except (ValueError, InvalidTag):
            return None
        if content["until"] <= clock.now().timestamp():
            return None
        return FlowTicket(
            purpose=purpose,
            transport=content["transport"],
            user_id=content.get("user"),
            credential_version=content.get("version"),
            amr=content["amr"],
            session_id=uuid.UUID(hex=content["session"]) if "session" in content else None,
            challenge=_bytes(content.get("challenge")),
            first_step=_bytes(content.get("first_step")),
        )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def ticket_digest(text: str) -> bytes:
    """Return the SHA-256 digest of a ticket, for the row that the ticket creates."""
    return hashlib.sha256(text.encode()).digest()
