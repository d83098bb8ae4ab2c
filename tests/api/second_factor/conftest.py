"""Fixtures of the tests of second factors: users with TOTP."""

import pytest

from tests.support.actors import ADA, ApiClient
from tests.support.second_factor import ProtectedUser, enrolled
from tests.support.stores import Query


@pytest.fixture
def protected(ada: int, api: ApiClient, query: Query) -> ProtectedUser:
    """Ada has TOTP; her access token is that of the session that enabled it."""
    return enrolled(api, ADA, query)
