"""A forger of tokens: makes any header over any claims, signed or not, as an attacker or a mistake of ours would."""

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
    """Starts from a genuine header and genuine claims; `key` signs, the service's own where it is at fault itself."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: EllipticCurvePrivateKey = field(repr=False)

    def token(self, header: dict[str, Any] | None = None, /, **claims: Any) -> str:
        """A well signed token that says something else; a claim that is given as `...` is left out."""
        return self.signed(without(self.header | (header or {})), without(self.claims | claims))

    def signed(self, header: Any, claims: Any) -> str:
        """Anything at all, well signed; text is taken as it is."""
        head = f"{_part(header)}.{_part(claims)}"
        r, s = decode_dss_signature(self.key.sign(head.encode(), ECDSA(SHA256())))
        return f"{head}.{encoded(r.to_bytes(32) + s.to_bytes(32))}"

    def unsigned(self, **header: Any) -> str:
        """A token without a signature."""
        return f"{_part(self.header | header)}.{_part(self.claims)}."

    def by_hmac(self, secret: bytes, *, algorithm: str) -> str:
        """A token signed with a secret that everybody knows."""
        head = f"{_part(self.header | {'alg': algorithm})}.{_part(self.claims)}"
        digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
        return f"{head}.{encoded(hmac.digest(secret, head.encode(), digest))}"


def without(said: dict[str, Any]) -> dict[str, Any]:
    """What is said, but for what is left out."""
    return {name: value for name, value in said.items() if value is not ...}


def encoded(raw: bytes) -> str:
    """In base64url, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> Any:
    """What a part of a token says."""
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _part(said: Any) -> str:
    return encoded((said if isinstance(said, str) else json.dumps(said)).encode())
