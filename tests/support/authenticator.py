"""A software authenticator with a browser: WebAuthn responses as `toJSON()` returns them, with control of each part."""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.cose import ES256, ES384, RS256, CoseKey, EdDSA

from auth_service.adapters.crypto.keys import base64url, from_base64url

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40
SYNCED, DEVICE_BOUND = UP | UV | BE | BS, UP | UV
SOFTWARE_AAGUID = bytes.fromhex("d548826e79b4db40a3d811116f7e8349")
"""That of Bitwarden, so that passkeys have the name of a provider."""


def _new_key(algorithm: int) -> Any:
    match algorithm:
        case -8:
            return ed25519.Ed25519PrivateKey.generate()
        case -257:
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case _:
            return ec.generate_private_key(ec.SECP256R1())


def cose_key(key: Any) -> CoseKey:
    """Return the public part of a private key as a COSE key."""
    kinds: list[tuple[type, Any]] = [(ed25519.Ed25519PrivateKey, EdDSA), (rsa.RSAPrivateKey, RS256)]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        kinds.append((ec.EllipticCurvePrivateKey, ES256 if key.curve.name == "secp256r1" else ES384))
    (cose,) = (cose for kind, cose in kinds if isinstance(key, kind))
    public: CoseKey = cose.from_cryptography_key(key.public_key())
    return public


def _sign(key: Any, message: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), SHA256())
    signature: bytes = key.sign(message, ec.ECDSA(SHA256()))
    return signature


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """What a broken or attacked browser or authenticator does differently; None is the honest value."""

    type: str | None = None
    challenge: bytes | None = None
    origin: str | None = None
    client_data: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the client data, such as `crossOrigin`."""
    raw_client_data: bytes | None = None
    rp_id: str | None = None
    flags: int | None = None
    counter: int | None = None
    public_key: bytes | None = None
    """The COSE key in CBOR."""
    credential_id: bytes | None = None
    trailing: bytes = b""
    """Bytes after the authenticator data."""
    raw_attestation_object: bytes | None = None
    user_handle: bytes | None = None
    signature: bytes | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    """Members of the credential, in place of its own."""
    response: Mapping[str, Any] = field(default_factory=dict)
    """Members of `response`, in place of its own."""


HONEST = Deviation()


@dataclass(kw_only=True)
class Authenticator:
    """One passkey of one user, in a browser on a page of `origin`."""

    rp_id: str = "localhost"
    origin: str = "http://localhost:5000"
    flags: int = SYNCED
    algorithm: int = -7
    counter: int = 0
    """Sent and never changed, as synced passkeys do; a test counts it up for a device-bound one."""
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    user_handle: bytes = b""
    aaguid: bytes = SOFTWARE_AAGUID

    def __post_init__(self) -> None:
        self.key = _new_key(self.algorithm)

    def copy(self, **changes: Any) -> "Authenticator":
        """Return a clone with the same key: what an attacker has who copied the authenticator."""
        clone = replace(self, **changes)
        clone.key = self.key
        return clone

    def create(self, options: Mapping[str, Any], deviation: Deviation = HONEST) -> dict[str, Any]:
        """Return the `RegistrationResponseJSON` for `PublicKeyCredentialCreationOptionsJSON`."""
        self.user_handle = from_base64url(options["user"]["id"])
        client_data = self._client_data("webauthn.create", options, deviation)
        credential_id = self.credential_id if deviation.credential_id is None else deviation.credential_id
        key = cbor.encode(cose_key(self.key)) if deviation.public_key is None else deviation.public_key
        attested = self.aaguid + struct.pack(">H", len(credential_id)) + credential_id + key
        data = self._authenticator_data(deviation, AT, attested)
        attestation = deviation.raw_attestation_object or cbor.encode({"fmt": "none", "authData": data, "attStmt": {}})
        response = {
            "clientDataJSON": base64url(client_data),
            "attestationObject": base64url(attestation),
            "authenticatorData": base64url(data),
            "transports": ["internal", "hybrid"],
            "publicKeyAlgorithm": self.algorithm,
        }
        return self._credential(response, deviation)

    def get(self, options: Mapping[str, Any], deviation: Deviation = HONEST) -> dict[str, Any]:
        """Return the `AuthenticationResponseJSON` for `PublicKeyCredentialRequestOptionsJSON`."""
        client_data = self._client_data("webauthn.get", options, deviation)
        data = self._authenticator_data(deviation)
        signature = deviation.signature or _sign(self.key, data + sha256(client_data).digest())
        handle = self.user_handle if deviation.user_handle is None else deviation.user_handle
        response = {
            "clientDataJSON": base64url(client_data),
            "authenticatorData": base64url(data),
            "signature": base64url(signature),
            "userHandle": base64url(handle),
        }
        return self._credential(response, deviation)

    def _client_data(self, type_: str, options: Mapping[str, Any], deviation: Deviation) -> bytes:
        if deviation.raw_client_data is not None:
            return deviation.raw_client_data
        challenge = options["challenge"] if deviation.challenge is None else base64url(deviation.challenge)
        values = {
            "type": deviation.type or type_,
            "challenge": challenge,
            "origin": self.origin if deviation.origin is None else deviation.origin,
            "crossOrigin": False,
        }
        return json.dumps(values | dict(deviation.client_data), separators=(",", ":")).encode()

    def _authenticator_data(self, deviation: Deviation, extra_flags: int = 0, attested: bytes = b"") -> bytes:
        rp_id = self.rp_id if deviation.rp_id is None else deviation.rp_id
        flags = self.flags | extra_flags if deviation.flags is None else deviation.flags
        counter = self.counter if deviation.counter is None else deviation.counter
        return sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, counter) + attested + deviation.trailing

    def _credential(self, response: dict[str, Any], deviation: Deviation) -> dict[str, Any]:
        credential_id = base64url(self.credential_id if deviation.credential_id is None else deviation.credential_id)
        return {
            "id": credential_id,
            "rawId": credential_id,
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response | dict(deviation.response),
            **deviation.members,
        }
