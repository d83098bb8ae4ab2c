"""Access tokens (RFC 9068): their form, header and claims, checked as strictly as the authentication service does."""

import base64
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from auth_service_verifier.errors import TokenExpired, TokenInvalid

ALGORITHM = "ES256"
TYPE = "at+jwt"
LEEWAY = timedelta(seconds=30)
"""Tolerated clock skew between the authentication service and this one."""
LONGEST_TOKEN = 2048
LONGEST_KID = 64
HEADER = frozenset({"alg", "kid", "typ"})
"""The members of the header: exactly these."""
REQUIRED_CLAIMS = ("iss", "aud", "sub", "client_id", "sid", "jti", "iat", "nbf", "exp", "roles")
FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]", re.ASCII)
"""Compact form of a token. The unused bits of the last character are zero, so a signature has only one encoding."""
USER_ID = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
LATEST = 2**37
"""Upper bound of instants, in seconds since 1970: the year 6325. `datetime` ends with the year 9999."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessToken:
    """A verified access token: who the user is, and how and when the user authenticated."""

    user_id: int
    session_id: uuid.UUID
    token_id: str
    roles: tuple[str, ...]
    """The roles of the user: those of the token, or the current ones if introspection was asked."""
    issued_at: datetime
    expires_at: datetime
    auth_time: datetime | None
    """When the user authenticated; None in a token of a release without this claim."""
    acr: str | None
    """The authentication level, `aal1` or `aal2`; None in a token of a release without this claim."""
    permissions: frozenset[str] | None = None
    """The current permissions of the user if introspection was asked; None otherwise."""


def kid_of(token: str) -> str:
    """Return the key id of a token. Raises TokenInvalid unless the header has exactly the form that the service writes.

    That excludes `crit` (RFC 7515, 4.1.11), keys inside the token (`jwk`, `jku`, `x5c`, `x5u`), other algorithms
    (`none`, or HS256: algorithm confusion) and other types of token (RFC 8725, 3.11).
    """
    if len(token) > LONGEST_TOKEN or not FORM.fullmatch(token):
        raise TokenInvalid("not a JWT of this issuer")
    try:
        header = _parse_json(token.partition(".")[0])
    except (ValueError, RecursionError):
        raise TokenInvalid("unreadable header") from None
    if not isinstance(header, dict) or header.keys() != HEADER:
        raise TokenInvalid("unexpected header")
    kid = header["kid"]
    if header["alg"] != ALGORITHM or header["typ"] != TYPE or not isinstance(kid, str) or len(kid) > LONGEST_KID:
        raise TokenInvalid("unexpected header")
    return kid


def verified(token: str, key: EllipticCurvePublicKey, *, issuer: str, audience: str) -> AccessToken:
    """Verify the signature and the claims of a token whose header `kid_of` has checked.

    Raises TokenInvalid, and TokenExpired if only the expiry is wrong.
    """
    try:
        _parse_json(token.split(".")[1])
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],  # never the algorithm that the token names (RFC 8725, 3.1)
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY,
            # The expiry is checked last, so that an expired token is known to be genuine.
            options={"require": list(REQUIRED_CLAIMS), "strict_aud": True, "verify_exp": False},
        )
        access_token = _typed(claims)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise TokenInvalid(type(error).__name__) from None
    if datetime.now(UTC) >= access_token.expires_at + LEEWAY:
        raise TokenExpired("expired")
    return access_token


def _parse_json(part: str) -> Any:
    """Parse the header or the payload of a token. Raises ValueError for malformed JSON and for duplicate names.

    Parsers disagree on which of two duplicates counts, so the token would mean different things to different services
    (RFC 7515, 4). base64url has unused bits, which have to be zero, so that a token has only one encoding.
    """
    raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not canonical base64url")
    return json.loads(raw, object_pairs_hook=_reject_duplicates)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members


def _typed(claims: Mapping[str, Any]) -> AccessToken:
    """Check the type of each claim, because PyJWT accepts "7", 7.5 and true as instants. Raises ValueError."""
    roles = claims["roles"]
    texts = [claims[name] for name in ("sub", "client_id", "sid", "jti")]
    if not isinstance(roles, list) or not all(isinstance(text, str) for text in [*texts, *roles]):
        raise ValueError("a claim is not a string")
    _instant(claims["nbf"])  # PyJWT has compared it with the clock.
    if not USER_ID.fullmatch(claims["sub"]):
        raise ValueError("`sub` is not a user id")
    session_id = uuid.UUID(claims["sid"])
    if session_id.int == 0:
        raise ValueError("`sid` is not a session id")
    if "acr" in claims and not isinstance(claims["acr"], str):
        raise ValueError("`acr` is not a string")
    return AccessToken(
        user_id=int(claims["sub"]),
        session_id=session_id,
        token_id=claims["jti"],
        roles=tuple(roles),
        issued_at=_instant(claims["iat"]),
        expires_at=_instant(claims["exp"]),
        auth_time=_instant(claims["auth_time"]) if "auth_time" in claims else None,
        acr=claims.get("acr"),
    )


def _instant(seconds: Any) -> datetime:
    if type(seconds) is not int or not 0 < seconds < LATEST:
        raise ValueError("a claim is not an instant")
    return datetime.fromtimestamp(seconds, UTC)
