"""Refresh tokens: session id, counter and MAC. The database stores no token, so its leak reveals none."""

import hmac
import uuid
from dataclasses import dataclass

from auth_service.adapters.crypto.keys import base64url, derived_key, from_base64url

COUNTER_BYTES = 8
MAC_BYTES = 32
LENGTH = 16 + COUNTER_BYTES + MAC_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class RefreshClaim:
    """The content of a genuine refresh token. The row of the session decides whether it is still valid."""

    session_id: uuid.UUID
    counter: int


class RefreshTokens:
    """Creates and parses refresh tokens. A token is a function of session and counter.

    A client that lost a response therefore gets the same successor again, although no token is stored.
    """

    def __init__(self, secret: str) -> None:
        """`secret` is `SESSION_KEY`, from which the key of the MAC is derived."""
        self._key = derived_key(secret, purpose="refresh tokens")

    def make(self, *, session_id: uuid.UUID, counter: int) -> str:
        """Return the token of a session at one value of its counter."""
        content = session_id.bytes + counter.to_bytes(COUNTER_BYTES)
        return base64url(content + self._mac(content))

    def read(self, token: str) -> RefreshClaim | None:
        """Parse a token and verify its MAC; None unless this service created it."""
        try:
            raw = from_base64url(token)
        except ValueError:
            return None
        content, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if len(raw) != LENGTH or not hmac.compare_digest(mac, self._mac(content)):
            return None
        return RefreshClaim(session_id=uuid.UUID(bytes=content[:16]), counter=int.from_bytes(content[16:]))

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")
