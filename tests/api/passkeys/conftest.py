"""Fixtures of the tests of passkeys: Ada, signed in with the password, and her first passkey."""

import pytest

from tests.support.actors import ApiClient
from tests.support.authenticator import Authenticator
from tests.support.passkeys import PasskeyUser, by_password


@pytest.fixture
def user(ada: int, api: ApiClient) -> PasskeyUser:
    """Ada, signed in with the password."""
    return by_password(api)


@pytest.fixture
def passkey(user: PasskeyUser) -> Authenticator:
    """A synced passkey of Ada."""
    return user.register()[0]
