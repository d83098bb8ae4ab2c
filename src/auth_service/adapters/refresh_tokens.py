"""Refresh tokens: a session id, a counter and a MAC, so that nothing that is stored can be used as one."""

import base64
import hmac
import uuid
from dataclasses import dataclass

from auth_service.adapters.crypto import derived_key

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
        return base64.urlsafe_b64encode(said + self._mac(said)).rstrip(b"=").decode()

    def read(self, token: str) -> RefreshClaim | None:
        """What the token says; None unless we made it."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        if len(raw) != LENGTH or not token.isascii():
            return None
        claim = RefreshClaim(session_id=uuid.UUID(bytes=raw[:16]), counter=int.from_bytes(raw[16:-MAC_BYTES]))
        # The whole text and not only its bytes: base64 has spare bits, and a token is to be written in one way.
        genuine = self.make(session_id=claim.session_id, counter=claim.counter)
        return claim if hmac.compare_digest(token, genuine) else None

    def _mac(self, said: bytes) -> bytes:
        return hmac.digest(self._key, said, "sha256")
