"""Forged JWTs: any header over any claims, signed or unsigned, as an attacker or a bug of the service would make."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HMAC_ALGORITHMS = ("HS256", "HS384", "HS512")

# In all lists `...` stands for a member that is left out.
INVALID_ALGORITHMS: list[Any] = [
    *("none", "None", "NONE", "nOnE", "", None, "ES256 ", "es256", "ES384", "EdDSA", "RS256", 0, ["ES256"]),
]

INVALID_TYPES: list[Any] = [..., "JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "", None, ["at+jwt"]]

INVALID_KEY_IDS: list[Any] = [
    "",
    "unknown",
    "../../../../dev/null",
    "/dev/null",
    "' OR 1=1 --",
    "a" * 65,
    "k" * 1500,
    "\x00",
    "\ud800",
    None,
    0,
    1.5,
    True,
    ["kid"],
    {"kid": "kid"},
    ...,
]

ADDED_TO_HEADER: list[dict[str, Any]] = [
    {"crit": ["exp"], "exp": 1},
    {"crit": ["b64"], "b64": False},
    {"crit": ["b64"], "b64": True},
    {"b64": False},
    {"crit": []},
    {"crit": None},
    {"zip": "DEF"},
    {"cty": "JWT"},
    {"enc": "A256GCM"},
]

INVALID_TIMES: list[Any] = [
    float("nan"),
    float("inf"),
    -float("inf"),
    10**400,
    -(10**400),
    1e308,
    9999999999.5,
    "9999999999",
    True,
    None,
    [],
    {},
    ...,
]

INVALID_CLAIMS: list[tuple[str, Any]] = [
    ("sub", "unknown"),
    ("sub", 5),
    ("sub", "-1"),
    ("sub", "0"),
    ("sub", "9" * 400),
    ("sub", "١٢٣"),
    ("sub", "1 "),
    ("sub", "1_0"),
    ("sub", "1e3"),
    ("sub", None),
    ("sub", ...),
    ("sid", "x"),
    ("sid", 7),
    ("sid", None),
    ("sid", []),
    ("sid", str(uuid.UUID(int=0))),
    ("sid", ...),
    ("jti", ...),
    ("jti", 7),
    ("roles", "ROLE_ADMIN"),
    ("roles", [1]),
    ("roles", {"ROLE_ADMIN": True}),
    ("roles", None),
    ("roles", ...),
    ("auth_time", "1700000000"),
    ("auth_time", 1.5),
    ("auth_time", True),
    ("auth_time", -1),
    ("auth_time", 2**70),
    ("acr", 2),
    ("acr", ["aal2"]),
]


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

    def with_key(self, key: EllipticCurvePrivateKey) -> Self:
        """A forger who signs with another key."""
        return replace(self, key=key)

    def headers_with_its_key(self) -> list[dict[str, Any]]:
        """Headers that name the key of this forger, as far as a forger can choose."""
        numbers = self.key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "x": encoded(numbers.x.to_bytes(32)), "y": encoded(numbers.y.to_bytes(32))}
        url = "https://attacker.example/keys"
        return [{"jwk": jwk}, {"jku": url}, {"x5u": url}, {"x5c": ["MIIB"]}, {"x5t": "a"}, {"jwk": jwk, "kid": ...}]


def public_secrets(key: EllipticCurvePublicKey, jwks: bytes) -> list[bytes]:
    """What a verifier might use as HMAC secret by mistake: the public key in any encoding, or nothing."""
    return [
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        jwks,
        json.loads(jwks)["keys"][0]["x"].encode(),
        b"",
    ]


def other_values(text: str) -> list[Any]:
    """Values that are similar to the right `iss` or `aud`."""
    return [
        text + "/",
        text + " ",
        text[:-1],
        text + ".attacker.example",
        text.upper(),
        "",
        None,
        1,
        ...,
        [text],
        [text, "other"],
        {text: True},
    ]


def with_duplicate_names(forger: Forger) -> list[str]:
    """Tokens whose claims or header have a name twice."""
    return [
        forger.signed(forger.header, json.dumps(forger.claims)[:-1] + ', "sub": "1"}'),
        forger.signed(json.dumps(forger.header)[:-1] + ', "alg": "none"}', forger.claims),
        forger.signed('{"alg": "none", ' + json.dumps(forger.header)[1:], forger.claims),
    ]


def malformed(forger: Forger, token: str) -> list[str]:
    """Malformed tokens, most of them made of the valid one."""
    head, body, signature = token.split(".")
    return [
        forger.signed(forger.header, [forger.claims]),
        forger.signed(forger.header, "null"),
        forger.signed(forger.header, "7"),
        forger.signed(forger.header, ""),
        forger.signed(forger.header, "{"),
        forger.signed(forger.header, "[" * 1000),
        forger.signed(forger.header, token),  # nested
        forger.signed(forger.header, {"token": token}),
        forger.signed([forger.header], forger.claims),
        forger.signed("[" * 400, forger.claims),
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{head}..{signature}",
        f".{body}.{signature}",
        f"{head}.{body}.{signature}.",
        f"{head}.{body}.{signature}.{signature}",
        f"{head}=.{body}.{signature}",
        f"{head}.{body}.{signature}==",
        f"{head}.{body}.{signature}A",
        f"{head}.{body}.{signature[:-2]}",
        f"{head}.{body}.{encoded(bytes(64))}",
        f"{head}.{body}.{encoded(b'0' * 72)}",
        "..",
        "...." * 500,
        token + "." * 8000,
        "a" * 8000,
        token * 8,
    ]


def with_a_flipped_bit(token: str) -> Iterator[str]:
    """Every token that differs in one bit of one character. The last character of each part has spare bits."""
    for place, character in enumerate(token):
        yield f"{token[:place]}{chr(ord(character) ^ 1)}{token[place + 1 :]}"


def forged_tokens(forger: Forger, jwks: bytes) -> Iterator[tuple[str, str]]:
    """Every kind of forged token that can be recognised without the database, with its reason."""
    token, now = forger.token(), int(time.time())
    attacker = forger.with_key(generate_private_key(SECP256R1()))
    headers: list[tuple[str, dict[str, Any]]] = [
        *(("algorithm", {"alg": algorithm}) for algorithm in INVALID_ALGORITHMS),
        *(("key id", {"kid": kid}) for kid in INVALID_KEY_IDS),
        *(("type", {"typ": typ}) for typ in INVALID_TYPES),
        *(("header parameter", header) for header in ADDED_TO_HEADER),
        *(("key in the header", header) for header in attacker.headers_with_its_key()),
    ]
    claims: list[tuple[str, Any]] = [
        *((name, value) for name in ("iss", "aud") for value in other_values(forger.claims[name])),
        *((name, value) for name in ("exp", "nbf", "iat") for value in INVALID_TIMES),
        *INVALID_CLAIMS,
        *(("nbf", now + 60), ("iat", now + 60)),
    ]
    yield from ((f"{name}: {header}", forger.token(header)) for name, header in headers)
    yield from ((f"attacker's key, {name}: {header}", attacker.token(header)) for name, header in headers)
    yield from ((f"unsigned, {algorithm!r}", forger.unsigned(alg=algorithm)) for algorithm in INVALID_ALGORITHMS)
    yield from ((f"{name}: {value!r}", forger.token(**{name: value})) for name, value in claims)
    for algorithm in HMAC_ALGORITHMS:
        for secret in public_secrets(forger.key.public_key(), jwks):
            yield f"{algorithm} with {secret[:20]!r}", forger.by_hmac(secret, algorithm=algorithm)
    yield "attacker's key", attacker.token()
    yield "expired", forger.token(exp=now - 31)
    yield from (("duplicate name", forged) for forged in with_duplicate_names(forger))
    yield from (("malformed", forged) for forged in [*malformed(forger, token), ""])
    yield from (("flipped bit", forged) for forged in with_a_flipped_bit(token))


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
