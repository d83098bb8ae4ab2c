"""Digests and sealed boxes, each under a key derived for one purpose, and the one way in which bytes are written."""

import base64
import hmac
import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12


def derived_key(secret: str, *, purpose: str) -> bytes:
    """Derive 256 bits for one purpose, so that no two uses of a secret share a key (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())


def base64url(raw: bytes) -> str:
    """Bytes as text for URLs, headers and cookies, unpadded (RFC 4648, 5; RFC 7515, 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Decode what `base64url` wrote. Raises ValueError for any other spelling of the same bytes, too.

    base64 has spare bits, and Python's decoder takes two alphabets at once; a text that somebody counts, compares or
    remembers has to be the only one that means what it means.
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64url(raw) != text:
        raise ValueError("not the canonical spelling")
    return raw


class Digests:
    """Keyed digests: worth nothing to somebody who reads Redis or the database without the key."""

    def __init__(self, secret: str, *, purpose: str) -> None:
        """`secret` is a setting, `purpose` what the digests are for."""
        self._key = derived_key(secret, purpose=purpose)

    def of(self, *parts: str) -> bytes:
        """The HMAC-SHA256 of the parts; no two lists of parts share an input."""
        # Each with its length before it, as a netstring is written.
        words = [part.encode() for part in parts]
        return hmac.digest(self._key, b"".join(b"%d:%b," % (len(word), word) for word in words), "sha256")


class SealBroken(Exception):
    """The box was made with another key or for another place, or was changed."""


class Sealer:
    """Encrypts small objects for the database (AES-256-GCM, a random nonce, bound to the place they belong to)."""

    def __init__(self, secret: str, *, purpose: str) -> None:
        """`secret` is a setting, `purpose` what the boxes are for."""
        self._cipher = AESGCM(derived_key(secret, purpose=purpose))

    def seal(self, values: dict[str, Any], *, place: bytes) -> bytes:
        """Encrypt `values`; they can only be opened under the same `place`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, json.dumps(values).encode(), place)

    def open(self, box: bytes, *, place: bytes) -> dict[str, Any]:
        """Decrypt what `seal` made. Raises SealBroken."""
        try:
            opened: dict[str, Any] = json.loads(self._cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], place))
        except InvalidTag as broken:
            raise SealBroken from broken
        return opened
