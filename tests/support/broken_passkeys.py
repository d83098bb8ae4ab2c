"""Broken WebAuthn responses, each with the check that refuses it (acceptance PK2)."""

import os
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fido2 import cbor

from auth_service.errors.passkeys import PasskeyCheck
from tests.support.authenticator import AT, BE, BS, UP, UV, Deviation, cose_key

SHAPE = "shape"
"""The JSON itself is refused: 422 `validation_failed`."""

Broken = Mapping[str, tuple[Deviation, PasskeyCheck | str | None]]
"""The check that fails: None for the signature."""

_POINT = cose_key(ec.generate_private_key(ec.SECP256R1()))
_ES384 = cose_key(ec.generate_private_key(ec.SECP384R1()))
_RSA = cose_key(rsa.generate_private_key(65537, 1024))
_SELF_CROSSING = b'{"type":"%b","challenge":"AA","challenge":"AA","origin":"https://example.org"}'


def broken_origins(origin: str) -> Broken:
    """Return the responses of pages with an origin that resembles the allowed one, or in a frame."""
    scheme, host = origin.split("://")
    name = host.split(":")[0]
    other_scheme = "http" if scheme == "https" else "https"
    origins = {
        "suffix": f"{origin}.evil.example",
        "prefix": f"{scheme}://evil-{host}",
        "subdomain": f"{scheme}://evil.{host}",
        "port": f"{scheme}://{name}:5999",
        "scheme": f"{other_scheme}://{host}",
        "upper case": origin.upper(),
        "trailing slash": f"{origin}/",
        "user": f"{scheme}://user@{host}",
        "punycode": f"{scheme}://xn--{name}-1b3d",
        "cyrillic letter": origin.replace("o", "\N{CYRILLIC SMALL LETTER O}"),
        "null": "null",
        "empty": "",
    }
    check = PasskeyCheck.ORIGIN
    return {
        **{f"origin: {what}": (Deviation(origin=value), check) for what, value in origins.items()},
        "origin: no text": (Deviation(client_data={"origin": None}), PasskeyCheck.MALFORMED),
        "cross origin": (Deviation(client_data={"crossOrigin": True}), check),
        "cross origin: no boolean": (Deviation(client_data={"crossOrigin": "false"}), PasskeyCheck.MALFORMED),
        "top origin": (Deviation(client_data={"topOrigin": origin}), check),
        "cross origin with top origin": (
            Deviation(client_data={"crossOrigin": True, "topOrigin": "https://example.com"}),
            check,
        ),
    }


def broken_responses(origin: str, *, flags: int = 0) -> Broken:
    """Return what is wrong in both ceremonies; `flags` are added to those of the authenticator data."""
    malformed = PasskeyCheck.MALFORMED
    return {
        **broken_origins(origin),
        "type: none": (Deviation(type="public-key"), PasskeyCheck.TYPE),
        "type: no text": (Deviation(client_data={"type": 1}), PasskeyCheck.TYPE),
        "challenge: another": (Deviation(challenge=os.urandom(32)), PasskeyCheck.CHALLENGE),
        "challenge: empty": (Deviation(challenge=b""), PasskeyCheck.CHALLENGE),
        "challenge: no text": (Deviation(client_data={"challenge": None}), PasskeyCheck.CHALLENGE),
        "challenge: surrogate": (Deviation(client_data={"challenge": "\ud800"}), PasskeyCheck.CHALLENGE),
        "client data: no JSON": (Deviation(raw_client_data=b"{"), malformed),
        "client data: array": (Deviation(raw_client_data=b"[]"), malformed),
        "client data: repeated name": (Deviation(raw_client_data=_SELF_CROSSING % b"webauthn.get"), malformed),
        "client data: no UTF-8": (Deviation(raw_client_data=b'{"type":"\xff"}'), malformed),
        "client data: deep": (Deviation(raw_client_data=b"[" * 4000), malformed),
        "client data: empty": (Deviation(raw_client_data=b""), malformed),
        "client data: no base64url": (Deviation(response={"clientDataJSON": "e30="}), malformed),
        "relying party: another": (Deviation(rp_id="example.com"), PasskeyCheck.RP_ID),
        "relying party: subdomain": (Deviation(rp_id="a.localhost"), PasskeyCheck.RP_ID),
        "user presence": (Deviation(flags=flags | UV | BE), PasskeyCheck.USER_PRESENCE),
        "user verification": (Deviation(flags=flags | UP | BE), PasskeyCheck.USER_VERIFICATION),
        "backed up, not eligible": (Deviation(flags=flags | UP | UV | BS), PasskeyCheck.BACKUP_FLAGS),
        "trailing bytes": (Deviation(trailing=b"\x00"), malformed),
        "id is not rawId": (Deviation(members={"id": "A" * 43}), malformed),
        "id: no base64url": (Deviation(members={"id": "+/", "rawId": "+/"}), malformed),
        "credential id: short": (Deviation(credential_id=os.urandom(15)), malformed),
        "credential id: long": (Deviation(credential_id=os.urandom(1024)), malformed),
        "extra member": (Deviation(members={"extra": 1}), SHAPE),
        "extra member of the response": (Deviation(response={"extra": 1}), SHAPE),
        "another type of credential": (Deviation(members={"type": "password"}), SHAPE),
        "9 KiB": (Deviation(client_data={"padding": "x" * 9 * 1024}), SHAPE),
        "results of extensions: no object": (Deviation(members={"clientExtensionResults": 1}), SHAPE),
    }


def broken_registrations(origin: str) -> Broken:
    """Return the broken responses of `navigator.credentials.create()`."""
    malformed, algorithm = PasskeyCheck.MALFORMED, PasskeyCheck.ALGORITHM
    keys = {
        "none": b"",
        "empty": cbor.encode({}),
        "no map": cbor.encode([1, 2]),
        "short": cbor.encode(dict(_POINT) | {-2: _POINT[-2][:31]}),
        "long": cbor.encode(dict(_POINT) | {-2: _POINT[-2] + b"\x00"}),
        "not on the curve": cbor.encode(dict(_POINT) | {-3: b"\x01" * 32}),
        "another curve": cbor.encode(dict(_POINT) | {-1: 2}),
        "with another parameter": cbor.encode(dict(_POINT) | {4: [2]}),
        "with a private part": cbor.encode(dict(_POINT) | {-4: b"\x01" * 32}),
        "truncated": cbor.encode(_POINT)[:-1],
        "of 1024 bits": cbor.encode(_RSA),
        "with a huge exponent": cbor.encode(dict(_RSA) | {-1: b"\xff" * 256, -2: b"\xff" * 256}),
        "with a huge modulus": cbor.encode(dict(_RSA) | {-1: b"\xff" * 1025}),
    }
    return {
        **broken_responses(origin, flags=AT),
        "type: get": (Deviation(type="webauthn.get"), PasskeyCheck.TYPE),
        **{f"key: {what}": (Deviation(public_key=key), malformed) for what, key in keys.items()},
        "algorithm: ES384": (Deviation(public_key=cbor.encode(_ES384)), algorithm),
        "algorithm: HMAC": (Deviation(public_key=cbor.encode({1: 4, 3: 5, -1: b"\x00" * 32})), algorithm),
        "algorithm: unknown": (Deviation(public_key=cbor.encode(dict(_POINT) | {3: -65000})), algorithm),
        "no attested credential": (Deviation(flags=UP | UV), malformed),
        "attestation: no CBOR": (Deviation(raw_attestation_object=b"\xff"), malformed),
        "attestation: array": (Deviation(raw_attestation_object=b"\x80"), malformed),
        "attestation: deep": (Deviation(raw_attestation_object=b"\x81" * 4000), malformed),
        "attestation: huge length": (Deviation(raw_attestation_object=b"\x5b" + b"\xff" * 8), malformed),
        "attestation: huge map": (Deviation(raw_attestation_object=b"\xbb" + b"\xff" * 8), malformed),
        "attestation: no authenticator data": (
            Deviation(raw_attestation_object=cbor.encode({"fmt": "none"})),
            malformed,
        ),
        "attestation: text": (Deviation(response={"attestationObject": "\N{CYRILLIC SMALL LETTER A}"}), malformed),
    }


def broken_authentications(origin: str) -> Broken:
    """Return the broken responses of `navigator.credentials.get()` for a synced passkey."""
    malformed = PasskeyCheck.MALFORMED
    return {
        **broken_responses(origin),
        "type: create": (Deviation(type="webauthn.create"), PasskeyCheck.TYPE),
        "not eligible any longer": (Deviation(flags=UP | UV), PasskeyCheck.BACKUP_FLAGS),
        "attested credential": (Deviation(flags=UP | UV | BE | AT), malformed),
        "authenticator data: short": (Deviation(response={"authenticatorData": "AAAA"}), malformed),
        "authenticator data: empty": (Deviation(response={"authenticatorData": ""}), malformed),
        "signature: another": (Deviation(signature=b"\x30\x06\x02\x01\x01\x02\x01\x01"), None),
        "signature: zeros": (Deviation(signature=b"\x30\x06\x02\x01\x00\x02\x01\x00"), None),
        "signature: no base64url": (Deviation(response={"signature": "="}), malformed),
    }
