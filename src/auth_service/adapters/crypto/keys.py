"""Keyed digests (HMAC) and encryption (AES-GCM), each with a key derived for one purpose; canonical base64url."""

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
    """Derive a key of 256 bits, so that two purposes of one secret never share a key (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())


def base64url(raw: bytes) -> str:
    """Encode bytes for URLs, headers and cookies, without padding (RFC 4648, 5; RFC 7515, 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Decode the result of `base64url`. Raises ValueError for every other encoding of the same bytes.

    base64 has unused bits, and Python's decoder accepts two alphabets. If a token had several encodings, an attacker
    could bypass code that counts, compares or caches tokens as text.
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64url(raw) != text:
        raise ValueError("not canonical base64url")
    return raw


class Digests:
    """Keyed digests (HMAC-SHA256): a leak of Redis or of the database reveals nothing without the key."""

    def __init__(self, secret: str, *, purpose: str) -> None:
        """`secret` is a setting; `purpose` separates these digests from all others (see `derived_key`)."""
        self._key = derived_key(secret, purpose=purpose)

    def of(self, *parts: str) -> bytes:
        """Return the HMAC-SHA256 of the parts; different lists of parts never have the same input."""
        # Each part as a netstring, so that moving a character from one part to the next changes the input.
        encoded = [part.encode() for part in parts]
        return hmac.digest(self._key, b"".join(b"%d:%b," % (len(part), part) for part in encoded), "sha256")


class SealBroken(Exception):
    """The ciphertext was encrypted with another key or for another place, or was modified."""


class Sealer:
    """Encrypts small objects for the database: AES-256-GCM with a random nonce and associated data (`place`)."""

    def __init__(self, secret: str, *, purpose: str) -> None:
        """`secret` is a setting; `purpose` separates this key from all others (see `derived_key`)."""
        self._cipher = AESGCM(derived_key(secret, purpose=purpose))

    def seal(self, values: dict[str, Any], *, place: bytes) -> bytes:
        """Encrypt `values` for one `place`, such as a row; `open` rejects a ciphertext of another place."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, json.dumps(values).encode(), place)

    def open(self, sealed: bytes, *, place: bytes) -> dict[str, Any]:
        """Decrypt the result of `seal`. Raises SealBroken."""
        try:
            values: dict[str, Any] = json.loads(self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place))
        except InvalidTag as error:
            raise SealBroken from error
        return values
