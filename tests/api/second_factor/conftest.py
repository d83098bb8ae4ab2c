"""Fixtures of the tests of second factors: users with TOTP."""

import pytest
from flask import Flask

from tests.support.actors import ADA, ApiClient, Mailbox
from tests.support.delayed_reset import Owner
from tests.support.second_factor import ProtectedUser, enrolled
from tests.support.stores import Query


@pytest.fixture
def protected(ada: int, api: ApiClient, query: Query) -> ProtectedUser:
    """Ada has TOTP; her access token is that of the session that enabled it."""
    return enrolled(api, ADA, query)


@pytest.fixture
def owner(protected: ProtectedUser, mailbox: Mailbox, query: Query, app: Flask) -> Owner:
    """Ada has lost the authenticator app and the recovery codes."""
    return Owner(protected, mailbox, query, app)
