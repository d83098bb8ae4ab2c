"""Access tokens: JWTs (ES256) in the profile of RFC 9068, signed and verified strictly."""

import hashlib
import json
import re
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

from auth_service import clock
from auth_service.adapters.crypto.keys import base64url, from_base64url

ALGORITHM = "ES256"
TYPE = "at+jwt"
LEEWAY = timedelta(seconds=30)
LONGEST_TOKEN = 2048
LONGEST_KID = 64
MOST_REMEMBERED = 10_000
"""Verified tokens that a process remembers, in some four megabytes."""
HEADER = frozenset({"alg", "kid", "typ"})
CLAIMS = ("iss", "aud", "sub", "client_id", "sid", "jti", "iat", "nbf", "exp", "roles")
FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]", re.ASCII)
"""Of a token: the signature has 64 bytes, and is written in one way only."""
USER_ID = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
LATEST = 2**40
"""Instants beyond this are none: in seconds since 1970."""


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
class KeySet:
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
    _verified: "Verified" = field(default_factory=lambda: Verified(at_most=MOST_REMEMBERED), repr=False, compare=False)

    def sign(self, keys: KeySet, *, user_id: int, session_id: uuid.UUID, roles: Sequence[str], now: datetime) -> str:
        """Sign a token for a session of a user, good from `now` on."""
        issued_at = int(now.timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id),
            "client_id": self.audience,  # RFC 9068 asks for it; nobody but the portal asks for tokens here
            "sid": str(session_id),
            "jti": secrets.token_urlsafe(12),
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + self.lifetime // timedelta(seconds=1),
            "roles": list(roles),
        }
        headers = {"typ": TYPE, "kid": keys.signing_kid}
        return jwt.encode(claims, keys.signing_key, algorithm=ALGORITHM, headers=headers)

    def verify(self, token: str, keys: KeySet) -> Claims:
        """Check everything that a token by itself can be checked for. Raises TokenRejected."""
        key = keys.verifying.get(kid_of(token))
        if key is None:
            raise TokenRejected("unknown key")
        if (claims := self._verified.claims(token, key)) is not None:
            return claims
        try:
            _said_once(token.split(".")[1])
            claims = _checked(
                jwt.decode(
                    token,
                    key,
                    algorithms=[ALGORITHM],
                    audience=self.audience,
                    issuer=self.issuer,
                    leeway=LEEWAY,
                    options={"require": list(CLAIMS), "strict_aud": True},
                )
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as reason:
            raise TokenRejected(type(reason).__name__) from None
        self._verified.remember(token, key, claims)
        return claims


class Verified:
    """Tokens that were verified a moment ago: the same bytes under the same key need no second look but at the clock.

    Only good tokens get in, so strangers cannot fill it, and nothing is believed for it but the token itself: whether
    its session lives is asked each time. A digest stands for the token, so that a memory dump holds none.
    """

    def __init__(self, *, at_most: int) -> None:
        """When there are more, all are forgotten: that is simple, rare, and costs each of them one verification."""
        self._at_most = at_most
        self._known: dict[bytes, tuple[EllipticCurvePublicKey, Claims]] = {}

    def claims(self, token: str, key: EllipticCurvePublicKey) -> Claims | None:
        """What a token says, if it was verified by this key and has not expired since."""
        known = self._known.get(_fingerprint(token))
        if known is None or known[0] != key:
            return None
        claims = known[1]
        return claims if clock.now().timestamp() < claims.expires_at + LEEWAY.total_seconds() else None

    def remember(self, token: str, key: EllipticCurvePublicKey, claims: Claims) -> None:
        """Note that a token was verified."""
        if len(self._known) >= self._at_most:
            self._known = {}
        self._known[_fingerprint(token)] = (key, claims)


def _fingerprint(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def kid_of(token: str) -> str:
    """The id of the key that a token claims. Raises TokenRejected unless the header is exactly one of ours.

    Exactly: no `crit` (RFC 7515 4.1.11), no `jwk`, `jku`, `x5c`, `x5u` that could bring a key along, no `alg` but ours
    and no other type of token.
    """
    if len(token) > LONGEST_TOKEN or not FORM.fullmatch(token):
        raise TokenRejected("not a JWT of ours")
    try:
        header = _said_once(token.partition(".")[0])
    except (ValueError, RecursionError):
        raise TokenRejected("unreadable header") from None
    if not isinstance(header, dict) or header.keys() != HEADER:
        raise TokenRejected("odd header")
    kid = header["kid"]
    if header["alg"] != ALGORITHM or header["typ"] != TYPE or not isinstance(kid, str) or len(kid) > LONGEST_KID:
        raise TokenRejected("odd header")
    return kid


def _said_once(part: str) -> Any:
    """What a part of a token says. Raises ValueError for no JSON, and where something is said twice.

    Parsers differ in which of the two they believe, so that a token would mean one thing here and another elsewhere.
    """
    return json.loads(from_base64url(part), object_pairs_hook=_without_repetition)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) != len(pairs):
        raise ValueError("said twice")
    return said


def _checked(claims: Mapping[str, Any]) -> Claims:
    """The claims, each of the type that we give it: the library takes "7", 7.5 and true for the second 7 or 1."""
    roles, instants = claims["roles"], [claims[name] for name in ("iat", "nbf", "exp")]
    texts = [claims[name] for name in ("sub", "client_id", "sid", "jti")]
    if not isinstance(roles, list) or not all(isinstance(text, str) for text in [*texts, *roles]):
        raise ValueError("no text")
    if not all(type(instant) is int and 0 < instant < LATEST for instant in instants):
        raise ValueError("no instant")
    if not USER_ID.fullmatch(claims["sub"]):
        raise ValueError("no user")
    return Claims(
        user_id=int(claims["sub"]),
        session_id=uuid.UUID(claims["sid"]),
        token_id=claims["jti"],
        roles=roles,
        issued_at=claims["iat"],
        expires_at=claims["exp"],
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
    x, y = (base64url(number.to_bytes(32)) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": ALGORITHM, "kid": kid}
