"""WebAuthn (passkeys): options of both ceremonies, and verification of their responses (WebAuthn Level 3, 7.1 and 7.2).

`fido2` parses the binary structures and verifies signatures. The checks are here, because each has a name for the error
response, and because the library has none for `crossOrigin`, the backup flags, the algorithms and repeated JSON names.
"""

import json
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

from cryptography.exceptions import InvalidSignature
from fido2 import cbor
from fido2.cose import CoseKey
from fido2.webauthn import AttestationObject, AuthenticatorData

from auth_service.adapters.crypto.keys import base64url, from_base64url
from auth_service.errors.passkeys import PasskeyCheck

CHALLENGE_BYTES = 32
MIN_ID_BYTES, MAX_ID_BYTES = 16, 1023
"""The length of a credential id (WebAuthn Level 3, 4)."""

EDDSA, ES256, RS256 = -8, -7, -257
ALGORITHMS = (EDDSA, ES256, RS256)
"""COSE algorithms of new passkeys, in the order of preference."""
RSA_MODULUS_BYTES = range(256, 513)
"""2048 to 4096 bits: a longer modulus would make each verification expensive (denial of service)."""
RSA_EXPONENT_BYTES = 4

CREATE, GET = "webauthn.create", "webauthn.get"

_UNPARSABLE = (ValueError, TypeError, LookupError, AttributeError, struct.error, RecursionError)
"""What the parsers of `fido2` raise for malformed input; it is written for answers of honest authenticators."""

Parsed = TypeVar("Parsed")


class CeremonyInvalid(Exception):
    """A response of a ceremony failed a check; `check` is None if it is the signature."""

    def __init__(self, check: PasskeyCheck | None) -> None:
        super().__init__(check)
        self.check = check


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialDescriptor:
    """A passkey in the options of a ceremony: the browser excludes it, or offers it."""

    id: bytes
    transports: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistrationResponse:
    """The response of `navigator.credentials.create()`, in base64url as in `RegistrationResponseJSON`."""

    id: str
    raw_id: str
    client_data: str
    attestation_object: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AuthenticationResponse:
    """The response of `navigator.credentials.get()`, in base64url as in `AuthenticationResponseJSON`."""

    id: str
    raw_id: str
    client_data: str
    authenticator_data: str
    signature: str
    user_handle: str | None

    def credential_id(self) -> bytes:
        """Return the credential id, which selects the public key. Raises CeremonyInvalid."""
        return _credential_id(self.id, self.raw_id)

    def handle(self) -> bytes | None:
        """Return the user handle. Raises CeremonyInvalid."""
        return None if self.user_handle is None else _parsed(from_base64url, self.user_handle)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewCredential:
    """A verified new passkey."""

    id: bytes
    public_key: bytes
    """A COSE key in CBOR."""
    sign_count: int
    backup_eligible: bool
    """Whether the authenticator may sync the passkey to other devices."""
    backed_up: bool
    aaguid: uuid.UUID
    """The model of the authenticator, as it claims: there is no attestation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assertion:
    """A verified assertion: the state of the authenticator when it signed."""

    sign_count: int
    backed_up: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RelyingParty:
    """This service as a relying party of WebAuthn."""

    id: str
    """The domain that passkeys are bound to."""
    name: str
    origins: frozenset[str]
    """The origins of the pages that may use the passkeys, compared as whole strings."""
    timeout_ms: int
    """How long browsers wait for the user."""

    def creation_options(
        self, *, challenge: bytes, user_handle: bytes, user_name: str, exclude: Sequence[CredentialDescriptor]
    ) -> dict[str, Any]:
        """Return the `PublicKeyCredentialCreationOptionsJSON` of a new passkey."""
        return {
            "rp": {"id": self.id, "name": self.name},
            "user": {"id": base64url(user_handle), "name": user_name, "displayName": user_name},
            "challenge": base64url(challenge),
            "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
            "timeout": self.timeout_ms,
            "excludeCredentials": _descriptors(exclude),
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        }

    def request_options(self, *, challenge: bytes, allow: Sequence[CredentialDescriptor]) -> dict[str, Any]:
        """Return the `PublicKeyCredentialRequestOptionsJSON` of an authentication; any passkey if `allow` is empty."""
        return {
            "challenge": base64url(challenge),
            "timeout": self.timeout_ms,
            "rpId": self.id,
            "allowCredentials": _descriptors(allow),
            "userVerification": "required",
        }

    def verify_registration(self, response: RegistrationResponse, *, challenge: bytes) -> NewCredential:
        """Verify a new passkey. An attestation is ignored, because none was requested. Raises CeremonyInvalid."""
        credential_id = _credential_id(response.id, response.raw_id)
        self._check_client_data(response.client_data, type_=CREATE, challenge=challenge)
        data = _parsed(_attested, response.attestation_object)
        self._check_authenticator_data(data)
        credential = data.credential_data
        if credential is None or credential.credential_id != credential_id:
            raise CeremonyInvalid(PasskeyCheck.MALFORMED)
        _check_key(credential.public_key)
        return NewCredential(
            id=credential_id,
            public_key=cbor.encode(credential.public_key),
            sign_count=data.counter,
            backup_eligible=data.is_backup_eligible(),
            backed_up=data.is_backed_up(),
            aaguid=uuid.UUID(bytes=bytes(credential.aaguid)),
        )

    def verify_authentication(
        self, response: AuthenticationResponse, *, challenge: bytes, public_key: bytes, backup_eligible: bool
    ) -> Assertion:
        """Verify an assertion by the passkey with this public key; the caller checks the signature counter.

        `backup_eligible` is that of the registration, since it never changes. Raises CeremonyInvalid.
        """
        client_data = self._check_client_data(response.client_data, type_=GET, challenge=challenge)
        data = _parsed(_authenticator_data, response.authenticator_data)
        self._check_authenticator_data(data)
        if data.credential_data is not None:  # only in registrations (WebAuthn Level 3, 6.1)
            raise CeremonyInvalid(PasskeyCheck.MALFORMED)
        if data.is_backup_eligible() != backup_eligible:
            raise CeremonyInvalid(PasskeyCheck.BACKUP_FLAGS)
        signature = _parsed(from_base64url, response.signature)
        if not is_signed(public_key, bytes(data) + sha256(client_data).digest(), signature):
            raise CeremonyInvalid(None)
        return Assertion(sign_count=data.counter, backed_up=data.is_backed_up())

    def _check_client_data(self, text: str, *, type_: str, challenge: bytes) -> bytes:
        """Check what the browser says about the ceremony; return the signed bytes.

        Unknown members are accepted: browsers add some, so that servers do not compare the text (WebAuthn, 5.8.1).
        """
        raw = _parsed(from_base64url, text)
        values = _parsed(_client_data, raw)
        if values.get("type") != type_:
            raise CeremonyInvalid(PasskeyCheck.TYPE)
        if values.get("challenge") != base64url(challenge):
            raise CeremonyInvalid(PasskeyCheck.CHALLENGE)
        # A frame in a page of another site could make the user confirm what the page hides (clickjacking).
        if values.get("origin") not in self.origins or values.get("crossOrigin") or "topOrigin" in values:
            raise CeremonyInvalid(PasskeyCheck.ORIGIN)
        return raw

    def _check_authenticator_data(self, data: AuthenticatorData) -> None:
        """Check what the authenticator says about the relying party and the user."""
        if data.rp_id_hash != sha256(self.id.encode()).digest():
            raise CeremonyInvalid(PasskeyCheck.RP_ID)
        if not data.is_user_present():
            raise CeremonyInvalid(PasskeyCheck.USER_PRESENCE)
        if not data.is_user_verified():
            raise CeremonyInvalid(PasskeyCheck.USER_VERIFICATION)
        if data.is_backed_up() and not data.is_backup_eligible():
            raise CeremonyInvalid(PasskeyCheck.BACKUP_FLAGS)


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of a COSE key (in CBOR) signed the message. Raises ValueError for an unusable key."""
    key: Any = cbor.decode(public_key)
    try:
        CoseKey.parse(key).verify(message, signature)
    except InvalidSignature:
        return False
    return True


def _descriptors(credentials: Sequence[CredentialDescriptor]) -> list[dict[str, Any]]:
    return [
        {"type": "public-key", "id": base64url(each.id), "transports": list(each.transports)} for each in credentials
    ]


def _parsed(parse: Callable[[Any], Parsed], raw: Any) -> Parsed:
    """Parse untrusted input. Raises CeremonyInvalid."""
    try:
        return parse(raw)
    except _UNPARSABLE:
        raise CeremonyInvalid(PasskeyCheck.MALFORMED) from None


def _credential_id(text: str, raw: str) -> bytes:
    """Return the credential id of a response, whose `id` and `rawId` have to be equal. Raises CeremonyInvalid."""
    credential_id = _parsed(from_base64url, raw)
    if text != raw or not MIN_ID_BYTES <= len(credential_id) <= MAX_ID_BYTES:
        raise CeremonyInvalid(PasskeyCheck.MALFORMED)
    return credential_id


def _client_data(raw: bytes) -> dict[str, Any]:
    """Parse the JSON of the browser. Two parsers may read repeated names differently, so they are malformed."""
    values = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repeated_names)
    if not isinstance(values, dict):
        raise TypeError("the client data are no JSON object")
    if not isinstance(values.get("crossOrigin", False), bool) or not isinstance(values.get("origin"), str):
        raise TypeError("a member of the client data has another type")
    return values


def _without_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name is repeated")
    return values


def _attested(text: str) -> AuthenticatorData:
    return AttestationObject(from_base64url(text)).auth_data


def _authenticator_data(text: str) -> AuthenticatorData:
    return AuthenticatorData(from_base64url(text))


def _check_key(key: Mapping[Any, Any]) -> None:
    """Check that the key of a new passkey is of an offered algorithm, complete and usable. Raises CeremonyInvalid."""
    algorithm = key[3]
    if algorithm not in ALGORITHMS:
        raise CeremonyInvalid(PasskeyCheck.ALGORITHM)
    if not _has_shape(key, algorithm):
        raise CeremonyInvalid(PasskeyCheck.MALFORMED)
    # Loads the key, which fails for a point that is not on the curve and for an even RSA exponent.
    _parsed(lambda encoded: is_signed(encoded, b"", b""), cbor.encode(key))


def _has_shape(key: Mapping[Any, Any], algorithm: int) -> bool:
    """Whether the COSE key has exactly the parameters of its algorithm (RFC 9053, 7; RFC 8230, 4)."""
    lengths: dict[int, Sequence[int]]
    match algorithm:
        case -7:
            fixed, lengths = {1: 2, 3: ES256, -1: 1}, {-2: [32], -3: [32]}
        case -8:
            fixed, lengths = {1: 1, 3: EDDSA, -1: 6}, {-2: [32]}
        case _:
            fixed, lengths = {1: 3, 3: RS256}, {-1: RSA_MODULUS_BYTES, -2: range(1, RSA_EXPONENT_BYTES + 1)}
    return (
        set(key) == {*fixed, *lengths}
        and all(type(key[name]) is int and key[name] == value for name, value in fixed.items())
        and all(isinstance(key[name], bytes) and len(key[name]) in allowed for name, allowed in lengths.items())
    )
