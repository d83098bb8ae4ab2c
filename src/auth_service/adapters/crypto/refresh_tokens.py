"""Refresh tokens: a session id, a counter and a MAC, so that nothing that is stored can be used as one."""

import hmac
import uuid
from dataclasses import dataclass

from auth_service.adapters.crypto.keys import base64url, derived_key, from_base64url

COUNTER_BYTES = 8
MAC_BYTES = 32
LENGTH = 16 + COUNTER_BYTES + MAC_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class RefreshClaim:
    """What a genuine refresh token says: whether it is still good, the session's row decides."""

    session_id: uuid.UUID
    counter: int


class RefreshTokens:
    """Makes and reads refresh tokens. The same session and counter always make the same token.

    That is what lets a client whose answer got lost be given the same successor again.
    """

    def __init__(self, secret: str) -> None:
        """`secret` is a setting."""
        self._key = derived_key(secret, purpose="refresh tokens")

    def make(self, *, session_id: uuid.UUID, counter: int) -> str:
        """The token of a session at a counter."""
        said = session_id.bytes + counter.to_bytes(COUNTER_BYTES)
        return base64url(said + self._mac(said))

    def read(self, token: str) -> RefreshClaim | None:
        """What the token says; None unless we made it."""
        try:
            raw = from_base64url(token)
        except ValueError:
            return None
        said, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if len(raw) != LENGTH or not hmac.compare_digest(mac, self._mac(said)):
            return None
        return RefreshClaim(session_id=uuid.UUID(bytes=said[:16]), counter=int.from_bytes(said[16:]))

    def _mac(self, said: bytes) -> bytes:
        return hmac.digest(self._key, said, "sha256")
