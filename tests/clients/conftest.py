"""Fixtures of the tests of clients: a scripted server in place of the authentication service."""

from collections.abc import Iterator

import pytest

from tests.support.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
def endpoint() -> Iterator[ScriptedServer]:
    """An endpoint whose answers the test chooses."""
    with scripted_server() as server:
        yield server
