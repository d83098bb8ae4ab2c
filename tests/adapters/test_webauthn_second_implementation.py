"""WebAuthn verification compared with the package `webauthn`, a second implementation (PK2)."""

from typing import Any

import pytest
import webauthn
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException

from auth_service.adapters.crypto.webauthn import ALGORITHMS, RelyingParty
from tests.support.authenticator import HONEST, Authenticator, Deviation
from tests.support.broken_passkeys import broken_authentications, broken_registrations

ORIGIN = "http://localhost:5000"
CHALLENGE = bytes(range(32))
RELYING_PARTY = RelyingParty(id="localhost", name="Portal", origins=frozenset({ORIGIN}), timeout_ms=300000)
CREATION = RELYING_PARTY.creation_options(
    challenge=CHALLENGE, user_handle=b"h" * 32, user_name="ann@example.org", exclude=[]
)
REQUEST = RELYING_PARTY.request_options(challenge=CHALLENGE, allow=[])

REFUSALS = (WebAuthnException, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""The second implementation lets errors of its parsers through."""


def _registered(credential: dict[str, Any]) -> Any:
    return webauthn.verify_registration_response(
        credential=credential,
        expected_challenge=CHALLENGE,
        expected_rp_id="localhost",
        expected_origin=ORIGIN,
        require_user_verification=True,
        supported_pub_key_algs=[COSEAlgorithmIdentifier(each) for each in ALGORITHMS],
    )


def _asserted(authenticator: Authenticator, deviation: Deviation = HONEST) -> Any:
    passkey = _registered(authenticator.create(CREATION))
    return webauthn.verify_authentication_response(
        credential=authenticator.get(REQUEST, deviation),
        expected_challenge=CHALLENGE,
        expected_rp_id="localhost",
        expected_origin=ORIGIN,
        credential_public_key=passkey.credential_public_key,
        credential_current_sign_count=0,
        require_user_verification=True,
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pk2_the_second_implementation_accepts_the_software_authenticator(algorithm: int) -> None:
    authenticator = Authenticator(algorithm=algorithm)
    assert _registered(authenticator.create(CREATION)).credential_id == authenticator.credential_id
    assert _asserted(authenticator).user_verified


ONLY_THIS_SERVICE = {
    *("extra member", "extra member of the response", "results of extensions: no object", "9 KiB"),
    *("cross origin", "cross origin with top origin", "cross origin: no boolean", "top origin"),
    *("credential id: long", "credential id: short"),
}
"""What the second implementation accepts in both ceremonies."""
ONLY_THIS_SERVICE_REGISTERS = ONLY_THIS_SERVICE | {
    *("key: short", "key: long", "key: another curve", "key: not on the curve", "key: of 1024 bits"),
    *("key: with a huge exponent", "key: with a huge modulus"),
    *("key: with a private part", "key: with another parameter"),
}


@pytest.mark.parametrize("what", sorted(broken_registrations(ORIGIN).keys() - ONLY_THIS_SERVICE_REGISTERS))
def test_pk2_the_second_implementation_refuses_the_same_registrations(what: str) -> None:
    deviation, _ = broken_registrations(ORIGIN)[what]
    credential = Authenticator().create(CREATION, deviation)
    with pytest.raises(REFUSALS):
        _registered(credential)


@pytest.mark.parametrize(
    "what", sorted(broken_authentications(ORIGIN).keys() - ONLY_THIS_SERVICE - {"not eligible any longer"})
)
def test_pk2_the_second_implementation_refuses_the_same_assertions(what: str) -> None:
    deviation, _ = broken_authentications(ORIGIN)[what]
    with pytest.raises(REFUSALS):
        _asserted(Authenticator(), deviation)
