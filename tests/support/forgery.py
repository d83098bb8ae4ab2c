"""Forged JWTs: any header over any claims, signed or unsigned, as an attacker or a bug of the service would make."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


@dataclass(frozen=True, kw_only=True, slots=True)
class Forger:
    """Starts from a genuine header and genuine claims; `key` signs, the service's own key to simulate its bugs."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: EllipticCurvePrivateKey = field(repr=False)

    def token(self, header: dict[str, Any] | None = None, /, **claims: Any) -> str:
        """A token with a valid signature and other claims; a claim with the value `...` is left out."""
        return self.signed(without(self.header | (header or {})), without(self.claims | claims))

    def signed(self, header: Any, claims: Any) -> str:
        """Any header and claims with a valid signature; a string is used unchanged."""
        head = f"{_part(header)}.{_part(claims)}"
        r, s = decode_dss_signature(self.key.sign(head.encode(), ECDSA(SHA256())))
        return f"{head}.{encoded(r.to_bytes(32) + s.to_bytes(32))}"

    def unsigned(self, **header: Any) -> str:
        """A token without a signature."""
        return f"{_part(self.header | header)}.{_part(self.claims)}."

    def by_hmac(self, secret: bytes, *, algorithm: str) -> str:
        """A token signed with a publicly known secret."""
        head = f"{_part(self.header | {'alg': algorithm})}.{_part(self.claims)}"
        digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
        return f"{head}.{encoded(hmac.digest(secret, head.encode(), digest))}"


def without(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims except those with the value `...`."""
    return {name: value for name, value in claims.items() if value is not ...}


def encoded(raw: bytes) -> str:
    """In base64url, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> Any:
    """The content of a part of a token."""
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _part(content: Any) -> str:
    return encoded((content if isinstance(content, str) else json.dumps(content)).encode())
