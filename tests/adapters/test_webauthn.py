"""WebAuthn verification: honest and broken responses (PK2, PK9), and a second implementation that agrees."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fido2 import cbor
from fido2.webauthn import AttestationObject

from auth_service.adapters.crypto.keys import base64url
from auth_service.adapters.crypto.passkey_providers import PROVIDERS, provider_of
from auth_service.adapters.crypto.webauthn import (
    ALGORITHMS,
    AuthenticationResponse,
    CeremonyInvalid,
    CredentialDescriptor,
    NewCredential,
    RegistrationResponse,
    RelyingParty,
    is_signed,
)
from auth_service.errors.passkeys import PasskeyCheck
from tests.support.authenticator import DEVICE_BOUND, HONEST, SYNCED, Authenticator, Deviation
from tests.support.broken_passkeys import SHAPE, Broken, broken_authentications, broken_registrations

ORIGIN = "http://localhost:5000"
CHALLENGE = bytes(range(32))
RELYING_PARTY = RelyingParty(
    id="localhost", name="Portal", origins=frozenset({ORIGIN, "https://other.example"}), timeout_ms=300000
)
EXAMPLE_ORG = RelyingParty(
    id="example.org", name="Example", origins=frozenset({"https://example.org"}), timeout_ms=300000
)
VECTORS = json.loads((Path(__file__).parent / "webauthn_vectors.json").read_text())["vectors"]
COMPLETE_VECTORS = {"packed.ES256"}
"""The only ones with user verification in both ceremonies."""
UV = 0x04


def _verified(broken: Broken) -> Broken:
    """Return the responses without those that the request schema refuses before the verification."""
    return {what: case for what, case in broken.items() if case[1] != SHAPE}


BROKEN_REGISTRATIONS = _verified(broken_registrations(ORIGIN))
BROKEN_AUTHENTICATIONS = _verified(broken_authentications(ORIGIN))

CREATION = RELYING_PARTY.creation_options(
    challenge=CHALLENGE, user_handle=b"h" * 32, user_name="ann@example.org", exclude=[]
)
REQUEST = RELYING_PARTY.request_options(challenge=CHALLENGE, allow=[])


def registered(credential: dict[str, Any], *, party: RelyingParty = RELYING_PARTY) -> NewCredential:
    """Verify a `RegistrationResponseJSON`."""
    response = RegistrationResponse(
        id=credential["id"],
        raw_id=credential["rawId"],
        client_data=credential["response"]["clientDataJSON"],
        attestation_object=credential["response"]["attestationObject"],
    )
    return party.verify_registration(response, challenge=CHALLENGE)


def authentication(credential: dict[str, Any]) -> AuthenticationResponse:
    response = credential["response"]
    return AuthenticationResponse(
        id=credential["id"],
        raw_id=credential["rawId"],
        client_data=response["clientDataJSON"],
        authenticator_data=response["authenticatorData"],
        signature=response["signature"],
        user_handle=response.get("userHandle"),
    )


def failed_check(verify: Callable[[], Any]) -> PasskeyCheck | None:
    with pytest.raises(CeremonyInvalid) as caught:
        verify()
    return caught.value.check


def asserted(authenticator: Authenticator, deviation: Deviation = HONEST) -> Any:
    passkey = registered(authenticator.create(CREATION))
    response = authentication(authenticator.get(REQUEST, deviation))
    response.credential_id()
    return RELYING_PARTY.verify_authentication(
        response, challenge=CHALLENGE, public_key=passkey.public_key, backup_eligible=passkey.backup_eligible
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("flags", [SYNCED, DEVICE_BOUND], ids=["synced", "device-bound"])
def test_pk1_a_passkey_of_each_offered_algorithm_is_registered_and_signs_in(algorithm: int, flags: int) -> None:
    authenticator = Authenticator(algorithm=algorithm, flags=flags, counter=7)
    passkey = registered(authenticator.create(CREATION))
    assert (passkey.id, passkey.sign_count) == (authenticator.credential_id, 7)
    assert (passkey.backup_eligible, passkey.backed_up) == (flags == SYNCED, flags == SYNCED)
    assertion = asserted(authenticator, Deviation(counter=8))
    assert (assertion.sign_count, assertion.backed_up) == (8, flags == SYNCED)


def test_pk1_options_ask_for_a_discoverable_passkey_with_user_verification() -> None:
    known = CredentialDescriptor(id=b"\xff" * 16, transports=["internal"])
    creation = RELYING_PARTY.creation_options(
        challenge=CHALLENGE, user_handle=b"h" * 32, user_name="ann@example.org", exclude=[known]
    )
    descriptor = {"type": "public-key", "id": base64url(known.id), "transports": ["internal"]}
    assert creation["excludeCredentials"] == [descriptor]
    assert creation["authenticatorSelection"]["residentKey"] == "required"
    assert creation["authenticatorSelection"]["userVerification"] == "required"
    assert creation["attestation"] == "none"
    assert [each["alg"] for each in creation["pubKeyCredParams"]] == [-8, -7, -257]
    request = RELYING_PARTY.request_options(challenge=CHALLENGE, allow=[known])
    assert request["allowCredentials"] == [descriptor]
    assert (request["rpId"], request["userVerification"]) == ("localhost", "required")
    assert REQUEST["allowCredentials"] == []  # autofill


def test_pk2_there_are_enough_broken_responses() -> None:
    assert min(len(BROKEN_REGISTRATIONS), len(BROKEN_AUTHENTICATIONS)) >= 40


@pytest.mark.parametrize("what", BROKEN_REGISTRATIONS)
def test_pk2_a_broken_registration_names_the_failed_check(what: str) -> None:
    deviation, check = BROKEN_REGISTRATIONS[what]
    credential = Authenticator().create(CREATION, deviation)
    assert failed_check(lambda: registered(credential)) == check


@pytest.mark.parametrize("what", BROKEN_AUTHENTICATIONS)
def test_pk2_a_broken_assertion_names_the_failed_check(what: str) -> None:
    deviation, check = BROKEN_AUTHENTICATIONS[what]
    assert failed_check(lambda: asserted(Authenticator(), deviation)) == check


def test_pk2_a_device_bound_passkey_does_not_become_a_synced_one() -> None:
    deviation = Deviation(flags=SYNCED)
    assert failed_check(lambda: asserted(Authenticator(flags=DEVICE_BOUND), deviation)) == PasskeyCheck.BACKUP_FLAGS


def test_pk2_the_signature_of_another_passkey_is_refused() -> None:
    passkey, other = registered(Authenticator().create(CREATION)), Authenticator()
    response = authentication(other.get(REQUEST))
    assert (
        failed_check(
            lambda: RELYING_PARTY.verify_authentication(
                response, challenge=CHALLENGE, public_key=passkey.public_key, backup_eligible=True
            )
        )
        is None
    )


def test_pk2_members_that_browsers_add_to_the_client_data_are_accepted() -> None:
    added = Deviation(client_data={"other_keys_can_be_added_here": "do not compare clientDataJSON against a template"})
    assert registered(Authenticator().create(CREATION, added)).id
    assert asserted(Authenticator(), added).backed_up


def _vector(name: str, ceremony: str) -> dict[str, bytes]:
    return {member: bytes.fromhex(value) for member, value in VECTORS[name][ceremony].items()}


def _verify_vector_registration(name: str) -> NewCredential:
    vector = _vector(name, "registration")
    response = RegistrationResponse(
        id=base64url(vector["credential_id"]),
        raw_id=base64url(vector["credential_id"]),
        client_data=base64url(vector["clientDataJSON"]),
        attestation_object=base64url(vector["attestationObject"]),
    )
    return EXAMPLE_ORG.verify_registration(response, challenge=vector["challenge"])


def _verify_vector_authentication(name: str, *, public_key: bytes, backup_eligible: bool) -> Any:
    vector = _vector(name, "authentication")
    response = AuthenticationResponse(
        id=base64url(_vector(name, "registration")["credential_id"]),
        raw_id=base64url(_vector(name, "registration")["credential_id"]),
        client_data=base64url(vector["clientDataJSON"]),
        authenticator_data=base64url(vector["authenticatorData"]),
        signature=base64url(vector["signature"]),
        user_handle=None,
    )
    return EXAMPLE_ORG.verify_authentication(
        response, challenge=vector["challenge"], public_key=public_key, backup_eligible=backup_eligible
    )


def _expected_check(name: str, *, flags: int) -> PasskeyCheck | str:
    """Return the check that refuses a vector: the service wants user verification, and no frames of other sites."""
    if name.endswith(("crossOrigin", "topOrigin")):
        return PasskeyCheck.ORIGIN
    if not flags & UV:
        return PasskeyCheck.USER_VERIFICATION
    return PasskeyCheck.ALGORITHM if "ES384" in name else "accepted"


def _outcome(verify: Callable[[], Any]) -> PasskeyCheck | str | None:
    try:
        verify()
    except CeremonyInvalid as error:
        return error.check
    return "accepted"


@pytest.mark.parametrize("name", VECTORS)
def test_pk9_the_vectors_of_the_standard_are_accepted_or_fail_exactly_where_this_service_is_stricter(name: str) -> None:
    attested = AttestationObject(_vector(name, "registration")["attestationObject"]).auth_data
    assert attested.credential_data is not None
    public_key = cbor.encode(attested.credential_data.public_key)
    authenticated = _vector(name, "authentication")
    signing_flags = authenticated["authenticatorData"][32]
    assert _outcome(lambda: _verify_vector_registration(name)) == _expected_check(name, flags=attested.flags)
    expected = _expected_check(name, flags=signing_flags)
    assert _outcome(
        lambda: _verify_vector_authentication(
            name, public_key=public_key, backup_eligible=attested.is_backup_eligible()
        )
    ) == ("accepted" if expected == PasskeyCheck.ALGORITHM else expected)


@pytest.mark.parametrize("name", VECTORS)
def test_pk9_the_signatures_of_the_vectors_are_verified(name: str) -> None:
    attested = AttestationObject(_vector(name, "registration")["attestationObject"]).auth_data
    assert attested.credential_data is not None
    vector = _vector(name, "authentication")
    message = vector["authenticatorData"] + sha256(vector["clientDataJSON"]).digest()
    public_key = cbor.encode(attested.credential_data.public_key)
    assert is_signed(public_key, message, vector["signature"])
    assert not is_signed(public_key, message + b"\x00", vector["signature"])


def test_pk9_a_vector_with_user_verification_is_registered_with_its_key_and_flags() -> None:
    (name,) = COMPLETE_VECTORS
    passkey = _verify_vector_registration(name)
    assert passkey.id == _vector(name, "registration")["credential_id"]
    assert (passkey.backup_eligible, passkey.backed_up) == (True, False)
    assertion = _verify_vector_authentication(name, public_key=passkey.public_key, backup_eligible=True)
    assert (assertion.sign_count, assertion.backed_up) == (0, False)


def test_provider_names_are_known_only_for_listed_authenticators() -> None:
    passkey = registered(Authenticator().create(CREATION))
    assert provider_of(passkey.aaguid) == "Bitwarden"
    assert all(name.strip() == name for name in PROVIDERS.values())
