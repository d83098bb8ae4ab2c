"""Access tokens: JWTs signed with ES256 in the profile of RFC 9068, and their strict verification."""

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
"""Tolerated clock skew between this service and other services."""
LONGEST_TOKEN = 2048
LONGEST_KID = 64
CACHED_TOKENS = 10_000
"""Verified tokens that the cache of a process holds; they take about four megabytes."""
HEADER = frozenset({"alg", "kid", "typ"})
"""The members of the header: exactly these."""
REQUIRED_CLAIMS = ("iss", "aud", "sub", "client_id", "sid", "jti", "iat", "nbf", "exp", "roles")
FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]", re.ASCII)
"""Compact form of a token. The unused bits of the last character are zero, so a signature has only one encoding."""
USER_ID = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
LATEST = 2**40
"""Upper bound of `iat`, `nbf` and `exp`, in seconds since 1970."""


class TokenRejected(Exception):
    """The token is not a valid access token of this service. The text is for the log; clients do not get the reason."""


class TokenOutdated(TokenRejected):
    """The token was issued by this service and has expired."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """The claims of a valid access token."""

    user_id: int
    session_id: uuid.UUID
    token_id: str
    roles: Sequence[str]
    issued_at: int
    expires_at: int
    auth_time: int | None
    """When the user authenticated (Unix time); None in a token of a release without this claim."""
    acr: str | None
    """The authentication level (RFC 9470); None in a token of a release without this claim."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySet:
    """The signing keys at one moment, parsed once: parsing a key takes a thousand times as long as signing with it."""

    signing_kid: str
    signing_key: EllipticCurvePrivateKey = field(repr=False)
    verifying: Mapping[str, EllipticCurvePublicKey]
    """Public keys by key id: all keys that verify tokens. The JWK set contains the same keys."""

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517), built from public keys only: no private key can be in it."""
        return {"keys": [_jwk(kid, key) for kid, key in self.verifying.items()]}


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessTokens:
    """Signs and verifies access tokens. The header of a token cannot choose the algorithm (RFC 8725, 3.1)."""

    issuer: str
    audience: str
    lifetime: timedelta
    _verified: "VerifiedTokens" = field(
        default_factory=lambda: VerifiedTokens(at_most=CACHED_TOKENS), repr=False, compare=False
    )

    def sign(
        self,
        keys: KeySet,
        *,
        user_id: int,
        session_id: uuid.UUID,
        roles: Sequence[str],
        auth_time: datetime,
        acr: str,
        now: datetime,
    ) -> str:
        """Sign a token for a session of a user, valid from `now` until `now` plus the lifetime.

        `auth_time` and `acr` say when and at which level the user authenticated (RFC 9068, 2.2.1; RFC 9470).
        """
        issued_at = int(now.timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id),
            "client_id": self.audience,  # required by RFC 9068; the portal is the only client
            "sid": str(session_id),
            "jti": secrets.token_urlsafe(12),
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + self.lifetime // timedelta(seconds=1),
            "roles": list(roles),
            "auth_time": int(auth_time.timestamp()),
            "acr": acr,
        }
        headers = {"typ": TYPE, "kid": keys.signing_kid}
        return jwt.encode(claims, keys.signing_key, algorithm=ALGORITHM, headers=headers)

    def verify(self, token: str, keys: KeySet) -> Claims:
        """Verify form, header, signature and claims; whether the session is active is checked elsewhere.

        Raises TokenRejected, and TokenOutdated if only the expiry is wrong.
        """
        key = keys.verifying.get(kid_of(token))
        if key is None:
            raise TokenRejected("unknown key")
        if (claims := self._verified.claims(token, key)) is not None:
            return claims
        try:
            _parse_json(token.split(".")[1])
            claims = _typed(
                jwt.decode(
                    token,
                    key,
                    algorithms=[ALGORITHM],
                    audience=self.audience,
                    issuer=self.issuer,
                    leeway=LEEWAY,
                    # The expiry is checked last, so that an expired token is known to be genuine.
                    options={"require": list(REQUIRED_CLAIMS), "strict_aud": True, "verify_exp": False},
                )
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenRejected(type(error).__name__) from None
        if _has_expired(claims):
            raise TokenOutdated("expired")
        self._verified.remember(token, key, claims)
        return claims


class VerifiedTokens:
    """Cache of verified tokens: the same bytes under the same key need no second signature check, only the expiry.

    Only valid tokens enter the cache, so anonymous clients cannot fill it. Whether the session is active is not cached.
    Keys of the cache are digests, so a memory dump contains no token.
    """

    def __init__(self, *, at_most: int) -> None:
        """The cache is cleared when it has `at_most` tokens: that is rare and costs one verification of each token."""
        self._at_most = at_most
        self._claims: dict[bytes, tuple[EllipticCurvePublicKey, Claims]] = {}

    def claims(self, token: str, key: EllipticCurvePublicKey) -> Claims | None:
        """The claims of a token that was verified with this key and has not expired."""
        cached = self._claims.get(_digest(token))
        if cached is None or cached[0] != key:
            return None
        return None if _has_expired(cached[1]) else cached[1]

    def remember(self, token: str, key: EllipticCurvePublicKey, claims: Claims) -> None:
        """Cache the claims of a verified token."""
        if len(self._claims) >= self._at_most:
            self._claims = {}
        self._claims[_digest(token)] = (key, claims)


def _has_expired(claims: Claims) -> bool:
    return clock.now().timestamp() >= claims.expires_at + LEEWAY.total_seconds()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def kid_of(token: str) -> str:
    """The key id of a token. Raises TokenRejected unless the header has exactly the form that `sign` writes.

    That excludes `crit` (RFC 7515, 4.1.11), keys inside the token (`jwk`, `jku`, `x5c`, `x5u`), other algorithms
    (`none`, or HS256: algorithm confusion) and other types of token (RFC 8725, 3.11).
    """
    if len(token) > LONGEST_TOKEN or not FORM.fullmatch(token):
        raise TokenRejected("not a JWT of this service")
    try:
        header = _parse_json(token.partition(".")[0])
    except (ValueError, RecursionError):
        raise TokenRejected("unreadable header") from None
    if not isinstance(header, dict) or header.keys() != HEADER:
        raise TokenRejected("unexpected header")
    kid = header["kid"]
    if header["alg"] != ALGORITHM or header["typ"] != TYPE or not isinstance(kid, str) or len(kid) > LONGEST_KID:
        raise TokenRejected("unexpected header")
    return kid


def _parse_json(part: str) -> Any:
    """Parse the header or the payload of a token. Raises ValueError for malformed JSON and for duplicate names.

    Parsers disagree on which of two duplicates counts, so the token would mean different things to different services
    (RFC 7515, 4).
    """
    return json.loads(from_base64url(part), object_pairs_hook=_reject_duplicates)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members


def _typed(claims: Mapping[str, Any]) -> Claims:
    """Check the type of each claim, because PyJWT accepts "7", 7.5 and true as instants. Raises ValueError."""
    roles, instants = claims["roles"], [claims[name] for name in ("iat", "nbf", "exp")]
    texts = [claims[name] for name in ("sub", "client_id", "sid", "jti")]
    if not isinstance(roles, list) or not all(isinstance(text, str) for text in [*texts, *roles]):
        raise ValueError("a claim is not a string")
    if not all(type(instant) is int and 0 < instant < LATEST for instant in instants):
        raise ValueError("a claim is not an instant")
    if not USER_ID.fullmatch(claims["sub"]):
        raise ValueError("`sub` is not a user id")
    auth_time, acr = claims.get("auth_time"), claims.get("acr")
    if "auth_time" in claims and not (type(auth_time) is int and 0 < auth_time < LATEST):
        raise ValueError("`auth_time` is not an instant")
    if "acr" in claims and not isinstance(acr, str):
        raise ValueError("`acr` is not a string")
    return Claims(
        user_id=int(claims["sub"]),
        session_id=uuid.UUID(claims["sid"]),
        token_id=claims["jti"],
        roles=roles,
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        auth_time=auth_time,
        acr=acr,
    )


def new_key() -> tuple[str, str, str]:
    """Generate a key pair: key id, private key and public key in PEM."""
    private = generate_private_key(SECP256R1())
    return (
        secrets.token_urlsafe(12),
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


def private_key(pem: str) -> EllipticCurvePrivateKey:
    """Parse a private key in PEM. Raises TypeError for a key of another kind."""
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError("not an elliptic curve key")
    return key


def public_key(pem: str) -> EllipticCurvePublicKey:
    """Parse a public key in PEM. Raises TypeError for a key of another kind."""
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, EllipticCurvePublicKey):
        raise TypeError("not an elliptic curve key")
    return key


def _jwk(kid: str, key: EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    x, y = (base64url(number.to_bytes(32)) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": ALGORITHM, "kid": kid}
