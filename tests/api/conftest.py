"""Fixtures of the tests of the API: a signed-in user, and a check that the live server survives."""

import json
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.support.actors import ADA, PASSWORD, USERS, ApiClient, Mailbox
from tests.support.live import WITNESS, Live
from tests.support.stores import Stores


@pytest.fixture
def nothing_is_lost(live: Live) -> Iterator[None]:
    """After any request of a test the service answers, and still has the user who registered before it."""
    witness = live.send_json("POST", f"{USERS}/sign_up", json.dumps({"email": WITNESS}).encode())
    assert witness.status == 201
    yield
    found = live.request("GET", f"{USERS}?email={WITNESS}")
    assert (found.status, found.json["data"]) == (200, witness.json["data"])
    assert live.is_ready()


@pytest.fixture
def lasting_pauses(stores: Stores) -> Callable[[], None]:
    """Makes every pause that failed attempts have begun last an hour, so that none ends while a slow machine works."""

    def lengthen() -> None:
        with redis.Redis.from_url(stores.redis_url) as client:
            for key in client.scan_iter("throttle:*", _type="HASH"):
                if int(client.hget(key, "until") or 0):
                    client.hset(key, "until", int(time.time() * 1000) + 3_600_000)

    return lengthen


@pytest.fixture
def ada(api: ApiClient, mailbox: Mailbox) -> int:
    """Ada is a user of the portal, with a password."""
    return api.register(ADA, mailbox, password=PASSWORD)


@pytest.fixture
def token(ada: int, api: ApiClient) -> str:
    """Ada is signed in; this is her access token."""
    return str(api.signed_in(ADA, PASSWORD)["access_token"])
