"""Fixtures of the API tests: tokens, administration clients, delays, and a check that the server loses no data."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from flask import Flask

from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, USERS, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.forgery import Forger, decoded
from tests.support.live import WITNESS, Live
from tests.support.passing_time import time_machine
from tests.support.service_client import Shop, made_key
from tests.support.sign_out import Session
from tests.support.stores import Query, Stores


@pytest.fixture
def nothing_is_lost(live: Live) -> Iterator[None]:
    """After the requests of a test the service is ready and still has the user that signed up before them."""
    witness = live.send_json("POST", f"{USERS}/sign_up", json.dumps({"email": WITNESS}).encode())
    assert witness.status == 201
    yield
    lookup = live.request("GET", f"{USERS}?email={WITNESS}")
    assert (lookup.status, lookup.json["data"]) == (200, witness.json["data"])
    assert live.is_ready()


@pytest.fixture
def lasting_pauses(stores: Stores) -> Callable[[], None]:
    """Extends every throttling delay to an hour, also one that has just ended because the machine is slow."""

    def extend() -> None:
        with redis.Redis.from_url(stores.redis_url) as client:
            for key in client.scan_iter("auth:throttle:*", _type="HASH"):
                now = int(time.time() * 1000)
                fields = client.hgetall(key)
                newest_attempt = max((int(at) for name, at in fields.items() if name.startswith(b"f:")), default=now)
                if int(fields.get(b"until", 0)) > newest_attempt:
                    client.hset(key, "until", now + 3_600_000)

    return extend


@pytest.fixture
def pass_time(stores: Stores) -> Callable[..., None]:
    """Lets time pass for everything that the rate limits and the login throttle have counted."""
    machine = time_machine(stores)
    return lambda **time: machine(timedelta(**time))


@pytest.fixture
def no_deadlock(query: Query) -> Iterator[None]:
    """PostgreSQL has detected no deadlock during the test."""
    counter = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = query(counter)
    yield
    query("SELECT pg_stat_force_next_flush()")
    assert query(counter) == before


@pytest.fixture
def tokens(ada: int, api: ApiClient) -> dict[str, Any]:
    """The tokens of Ada."""
    return api.signed_in(ADA, PASSWORD)


@pytest.fixture
def shop(app: Flask) -> Shop:
    """A service whose key allows token introspection."""
    return Shop(app, made_key(app, "tokens:introspect").value)


@pytest.fixture
def session(ada: int, api: ApiClient, app: Flask, services: Services) -> Session:
    """A session of Ada, with an access token that has expired."""
    tokens = api.signed_in(ADA, PASSWORD)
    header, claims, _ = tokens["access_token"].split(".")
    with app.app_context():
        key = services.signing_keys.for_verification().signing_key
    forger = Forger(header=decoded(header), claims=decoded(claims), key=key)
    issued_at = forger.claims["iat"] - 1000
    expired = forger.token(iat=issued_at, nbf=issued_at, exp=issued_at + 900)
    return Session(access=tokens["access_token"], expired=expired, refresh=tokens["refresh_token"])


@pytest.fixture
def administration(app: Flask, mailbox: Mailbox) -> Administration:
    """Creates users with roles, and services with scopes."""
    return Administration(app, mailbox)


@pytest.fixture
def admin(administration: Administration) -> AdminClient:
    """A client of an administrator."""
    return administration.administrator()
