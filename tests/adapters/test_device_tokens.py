"""Device tokens (known device): one spelling, one user, one credential version, and an expiry."""

from datetime import timedelta
from typing import Any

import pytest

from auth_service.adapters.crypto.device_tokens import DeviceTokens
from auth_service.adapters.crypto.keys import base64url, from_base64url

SECRET = "a secret of a test"
TOKENS = DeviceTokens(SECRET, ttl=timedelta(days=365))
ADAS: Any = {"user_id": 7, "version": 1}


def test_a_known_device_keeps_its_id_when_its_token_is_renewed() -> None:
    device = TOKENS.known(TOKENS.make(**ADAS), **ADAS)

    assert device is not None
    assert TOKENS.known(TOKENS.make(**ADAS, device=device), **ADAS) == device
    assert TOKENS.known(TOKENS.make(**ADAS), **ADAS) != device


@pytest.mark.parametrize("other", [{"user_id": 8, "version": 1}, {"user_id": 7, "version": 2}])
def test_a_token_is_invalid_for_other_users_and_credential_versions(other: Any) -> None:
    assert TOKENS.known(TOKENS.make(**other), **ADAS) is None


@pytest.mark.clock
def test_a_token_expires_even_if_its_cookie_does_not() -> None:
    expired = DeviceTokens(SECRET, ttl=-timedelta(seconds=2))

    assert TOKENS.known(DeviceTokens(SECRET, ttl=timedelta(hours=1)).make(**ADAS), **ADAS) is not None
    token = expired.make(**ADAS)
    assert TOKENS.known(token, **ADAS) is None
    raw = bytearray(from_base64url(token))
    raw[17] += 1  # a later expiry
    assert TOKENS.known(base64url(bytes(raw)), **ADAS) is None


@pytest.mark.parametrize("text", ["QUJD", "QUI", "QQ", "", "-_8", "AAAAAAAA"])
def test_bytes_have_one_encoding(text: str) -> None:
    assert base64url(from_base64url(text)) == text


@pytest.mark.parametrize("text", ["QUJ", "QR", "QQ==", "+/8", "Q", "QQ\n", " QQ", "Q=Q", "Ñ8", "QUJD="])
def test_other_encodings_are_rejected(text: str) -> None:
    with pytest.raises(ValueError):
        from_base64url(text)


@pytest.mark.parametrize("token", [None, "", "x", "é", "A" * 50, "A" * 8000])
def test_a_malformed_token_is_no_known_device(token: str | None) -> None:
    assert TOKENS.known(token, **ADAS) is None
