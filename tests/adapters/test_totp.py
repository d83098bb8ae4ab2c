"""TOTP and HOTP: the vectors of RFC 4226 and RFC 6238, the accepted time steps, sealed secrets."""

import pyotp
import pytest

from auth_service.adapters.crypto.keys import SealBroken
from auth_service.adapters.crypto.totp import TotpSecrets, hotp, matching_step, otpauth_uri, step_of

SECRET = b"12345678901234567890"
KEY, OTHER_KEY = "a-key-of-the-tests-0123456789-abcdefghijklmnop", "another-key-of-the-tests-0123456789-abcdefghij"


def test_sf2_hotp_has_the_vectors_of_rfc_4226() -> None:
    expected = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]

    assert [hotp(SECRET, counter) for counter in range(10)] == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_sf2_totp_has_the_vectors_of_rfc_6238(seconds: int, expected: str) -> None:
    assert hotp(SECRET, step_of(seconds), digits=8) == expected


def test_sf2_the_current_time_step_and_its_neighbours_match() -> None:
    matches = {step: matching_step(SECRET, hotp(SECRET, 1000 + step), now=1000) for step in range(-2, 3)}

    assert matches == {-2: None, -1: 999, 0: 1000, 1: 1001, 2: None}
    assert matching_step(SECRET, hotp(SECRET, 0), now=0) == 0
    assert matching_step(SECRET, "", now=1000) is None


def test_sf1_an_authenticator_app_reads_the_uri() -> None:
    app = pyotp.parse_uri(otpauth_uri(SECRET, issuer="Portal: A & B", account="ada+1@example.org"))

    assert isinstance(app, pyotp.TOTP)
    assert (app.issuer, app.name, app.byte_secret()) == ("Portal  A & B", "ada+1@example.org", SECRET)
    assert app.at(59) == hotp(SECRET, 1)


def test_sf13_a_sealed_secret_opens_only_for_its_user_and_with_its_key() -> None:
    secrets = TotpSecrets(KEY, previous=None)
    sealed = secrets.seal(SECRET, user_id=1)

    assert secrets.open(sealed, user_id=1) == SECRET
    assert SECRET not in sealed
    for opener, user_id in ((secrets, 2), (TotpSecrets(OTHER_KEY, previous=None), 1)):
        with pytest.raises(SealBroken):
            opener.open(sealed, user_id=user_id)


def test_sf13_a_rotated_key_opens_old_secrets_and_seals_them_anew() -> None:
    old, new = TotpSecrets(KEY, previous=None), TotpSecrets(OTHER_KEY, previous=KEY)
    sealed = old.seal(SECRET, user_id=1)

    assert new.open(sealed, user_id=1) == SECRET
    resealed = new.resealed(sealed, user_id=1)
    assert resealed is not None
    assert TotpSecrets(OTHER_KEY, previous=None).open(resealed, user_id=1) == SECRET
    assert new.resealed(resealed, user_id=1) is None
    with pytest.raises(SealBroken):
        new.resealed(sealed, user_id=2)
