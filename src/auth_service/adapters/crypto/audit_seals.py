"""Audit seals: JWTs of the type `audit-seal+jwt`, signed with the signing key of access tokens."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt.algorithms import ECAlgorithm

from auth_service.adapters.crypto.access_tokens import ALGORITHM, KeySet
from auth_service.adapters.crypto.keys import base64url, from_base64url

TYPE = "audit-seal+jwt"

TrustedKeys = Mapping[str, EllipticCurvePublicKey]
"""Public keys by key id, which were kept outside of the service."""


class SealRejected(Exception):
    """The seal is not signed by a trusted key, or it is malformed. The text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedHour:
    """What a seal states about an hour."""

    hour: datetime
    rows: int
    digest: bytes
    previous: bytes
    """The digest of the seal before; empty in the first one."""


def sign(sealed: SealedHour, keys: KeySet, *, issuer: str) -> str:
    """Sign a seal. It contains the public key, because rotations delete keys long before the events end."""
    [jwk] = [key for key in keys.jwks()["keys"] if key["kid"] == keys.signing_kid]
    claims = {
        "iss": issuer,
        "hour": int(sealed.hour.timestamp()),
        "rows": sealed.rows,
        "digest": base64url(sealed.digest),
        "previous": base64url(sealed.previous),
    }
    headers = {"typ": TYPE, "kid": keys.signing_kid, "jwk": jwk}
    return jwt.encode(claims, keys.signing_key, algorithm=ALGORITHM, headers=headers)


def verify(seal: str, *, trusted: TrustedKeys | None) -> SealedHour:
    """Verify the signature with a trusted key, or with the key inside the seal if `trusted` is None.

    Raises SealRejected.
    """
    try:
        header = jwt.get_unverified_header(seal)
        if header.get("typ") != TYPE:
            raise SealRejected("it is no audit seal")
        key = _parsed(header["jwk"]) if trusted is None else trusted.get(header.get("kid", ""))
        if key is None:
            raise SealRejected(f"its key {header.get('kid')} is not among the trusted ones")
        claims = jwt.decode(seal, key, algorithms=[ALGORITHM])
        return SealedHour(
            hour=datetime.fromtimestamp(claims["hour"], UTC),
            rows=claims["rows"],
            digest=from_base64url(claims["digest"]),
            previous=from_base64url(claims["previous"]),
        )
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise SealRejected(f"it cannot be read: {type(error).__name__}") from None


def trusted_keys(jwks: str) -> TrustedKeys:
    """Parse a JWK set (RFC 7517), as `/.well-known/jwks.json` publishes it. Raises ValueError."""
    try:
        return {key["kid"]: _parsed(key) for key in json.loads(jwks)["keys"]}
    except (jwt.PyJWTError, KeyError, TypeError) as error:
        raise ValueError("this is no JWK set") from error


def _parsed(jwk: Any) -> EllipticCurvePublicKey:
    key = ECAlgorithm.from_jwk(jwk)
    if not isinstance(key, EllipticCurvePublicKey):
        raise TypeError("not a public key")
    return key
