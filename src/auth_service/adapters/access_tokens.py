"""Access tokens: JWTs (ES256) in the profile of RFC 9068, signed and verified strictly."""

import base64
import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

ALGORITHM = "ES256"
TYPE = "at+jwt"
LEEWAY = timedelta(seconds=30)
LONGEST_TOKEN = 2048
LONGEST_KID = 64
HEADER = frozenset({"alg", "kid", "typ"})
CLAIMS = ("iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "roles")


class TokenRejected(Exception):
    """This is not an access token of ours that is good now. Why is nobody's business but the log's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What a good access token says."""

    user_id: int
    session_id: uuid.UUID
    token_id: str
    roles: Sequence[str]
    issued_at: int
    expires_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRing:
    """The keys at one moment, parsed once: parsing at every signature would cost a thousand times the signature."""

    signing_kid: str
    signing_key: EllipticCurvePrivateKey = field(repr=False)
    verifying: Mapping[str, EllipticCurvePublicKey]
    """Every key that a good token may be signed with, by its id; also those to be published."""

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517); there is no way for a private one into it."""
        return {"keys": [_jwk(kid, key) for kid, key in self.verifying.items()]}


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessTokens:
    """Signs and verifies. The algorithm is the one of our keys; a token's header has no say in it."""

    issuer: str
    audience: str
    lifetime: timedelta

    def sign(self, ring: KeyRing, *, user_id: int, session_id: uuid.UUID, roles: Sequence[str], now: datetime) -> str:
        """Sign a token for a session of a user, good from `now` on."""
        issued_at = int(now.timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": secrets.token_urlsafe(12),
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + self.lifetime // timedelta(seconds=1),
            "roles": list(roles),
        }
        headers = {"typ": TYPE, "kid": ring.signing_kid}
        return jwt.encode(claims, ring.signing_key, algorithm=ALGORITHM, headers=headers)

    def verify(self, token: str, ring: KeyRing) -> Claims:
        """Check everything that a token by itself can be checked for. Raises TokenRejected."""
        key = ring.verifying.get(kid_of(token))
        if key is None:
            raise TokenRejected("unknown key")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self.audience,
                issuer=self.issuer,
                leeway=LEEWAY,
                options={"require": list(CLAIMS), "strict_aud": True},
            )
            return _checked(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as reason:
            raise TokenRejected(type(reason).__name__) from None


def kid_of(token: str) -> str:
    """The id of the key that a token claims. Raises TokenRejected unless the header is exactly one of ours.

    Exactly: no `crit` (RFC 7515 4.1.11), no `jwk`, `jku`, `x5c`, `x5u` that could bring a key along, no `alg` but ours
    and no other type of token.
    """
    if len(token) > LONGEST_TOKEN or token.count(".") != 2:
        raise TokenRejected("not a JWT of ours")
    head = token.partition(".")[0]
    try:
        header = json.loads(base64.b64decode(head + "=" * (-len(head) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise TokenRejected("unreadable header") from None
    if not isinstance(header, dict) or header.keys() != HEADER:
        raise TokenRejected("odd header")
    kid = header["kid"]
    if header["alg"] != ALGORITHM or header["typ"] != TYPE or not isinstance(kid, str) or len(kid) > LONGEST_KID:
        raise TokenRejected("odd header")
    return kid


def _checked(claims: Mapping[str, Any]) -> Claims:
    roles = claims["roles"]
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise ValueError("roles")
    return Claims(
        user_id=int(claims["sub"]),
        session_id=uuid.UUID(claims["sid"]),
        token_id=str(claims["jti"]),
        roles=roles,
        issued_at=int(claims["iat"]),
        expires_at=int(claims["exp"]),
    )


def new_key() -> tuple[str, str, str]:
    """Make a key pair: its id, the private and the public half in PEM."""
    private = generate_private_key(SECP256R1())
    return (
        secrets.token_urlsafe(12),
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


def private_key(pem: str) -> EllipticCurvePrivateKey:
    """Parse a private key of ours."""
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError("not an elliptic curve key")
    return key


def public_key(pem: str) -> EllipticCurvePublicKey:
    """Parse a public key of ours."""
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, EllipticCurvePublicKey):
        raise TypeError("not an elliptic curve key")
    return key


def _jwk(kid: str, key: EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    x, y = (base64.urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode() for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": ALGORITHM, "kid": kid}
