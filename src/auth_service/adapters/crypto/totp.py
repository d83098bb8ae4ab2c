"""TOTP (RFC 6238) and HOTP (RFC 4226): codes of authenticator apps, their secrets, and the URI for an app."""

import base64
import hmac
import secrets
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from auth_service.adapters.crypto.keys import SealBroken, Sealer

SECRET_BYTES = 20
"""160 bits, the length of SHA-1 (RFC 4226, 4, R6)."""

DIGITS = 6
PERIOD = 30
"""Seconds of a time step. Most apps ignore other values, and other digests than SHA-1."""

NEIGHBOURS = (-1, 0, 1)
"""The accepted time steps around the current one: clocks differ, and typing takes time (RFC 6238, 5.2)."""


def hotp(secret: bytes, counter: int, *, digits: int = DIGITS) -> str:
    """Return the code of a counter (RFC 4226)."""
    return HOTP(secret, digits, SHA1()).generate(counter).decode()  # noqa: S303 - the algorithm of the standard


def step_of(seconds: float) -> int:
    """Return the time step of an instant in seconds since 1970."""
    return int(seconds // PERIOD)


def matching_step(secret: bytes, code: str, *, now: int) -> int | None:
    """Return the accepted time step around the step `now` that the code belongs to, or None.

    Constant work: every step is computed and compared, whatever matches (timing side channel).
    """
    matches = [
        (step, hmac.compare_digest(hotp(secret, step).encode(), code.encode()))
        for step in (max(0, now + distance) for distance in NEIGHBOURS)
    ]
    return max((step for step, is_equal in matches if is_equal), default=None)


def otpauth_uri(secret: bytes, *, issuer: str, account: str) -> str:
    """Return the URI that authenticator apps read from a QR code (key URI format)."""
    issuer = issuer.replace(":", " ")  # a colon separates the issuer from the account
    label = f"{quote(issuer)}:{quote(account, safe='@')}"
    query = {"secret": base32(secret), "issuer": issuer, "algorithm": "SHA1", "digits": DIGITS, "period": PERIOD}
    return f"otpauth://totp/{label}?{urlencode(query, quote_via=quote)}"


def base32(secret: bytes) -> str:
    """Return a secret as users type it into an app that cannot read the QR code."""
    return base64.b32encode(secret).decode()


class TotpSecrets:
    """Creates TOTP secrets, and encrypts them for the row of their user; supports key rotation."""

    def __init__(self, key: str, *, previous: str | None) -> None:
        """`key` is `SECOND_FACTOR_KEY`; `previous` is its value before a rotation, which still decrypts."""
        self._sealer = Sealer(key, purpose="totp secrets")
        self._previous = Sealer(previous, purpose="totp secrets") if previous is not None else None

    @staticmethod
    def new() -> bytes:
        """Return a new random secret."""
        return secrets.token_bytes(SECRET_BYTES)

    def seal(self, secret: bytes, *, user_id: int) -> bytes:
        """Encrypt the secret of a user; it cannot be decrypted for another user."""
        return self._sealer.seal({"secret": secret.hex()}, place=_place(user_id))

    def open(self, sealed: bytes, *, user_id: int) -> bytes:
        """Decrypt the secret of a user, with the current or the previous key. Raises SealBroken."""
        try:
            return _opened(self._sealer, sealed, user_id)
        except SealBroken:
            if self._previous is None:
                raise
            return _opened(self._previous, sealed, user_id)

    def resealed(self, sealed: bytes, *, user_id: int) -> bytes | None:
        """Encrypt a secret of the previous key with the current one; None if that is not necessary.

        Raises SealBroken.
        """
        try:
            _opened(self._sealer, sealed, user_id)
        except SealBroken:
            return self.seal(self.open(sealed, user_id=user_id), user_id=user_id)
        return None


def _opened(sealer: Sealer, sealed: bytes, user_id: int) -> bytes:
    return bytes.fromhex(sealer.open(sealed, place=_place(user_id))["secret"])


def _place(user_id: int) -> bytes:
    return f"totp {user_id}".encode()
