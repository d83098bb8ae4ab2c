"""Keys that sign access tokens: published before they sign, rotated without a refused token, sealed where they lie."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from flask_migrate import upgrade
from sqlalchemy import event
from sqlalchemy.engine import make_url

from auth_service import clock
from auth_service.adapters.crypto.keys import SealBroken, Sealer
from auth_service.cli.keys import keys
from auth_service.db import db, unit_of_work
from auth_service.errors import DatabaseUnavailable, KeysSealed
from auth_service.server.wsgi import wait_for_dependencies
from auth_service.services.tokens.signing_keys import (
    CACHE_TTL,
    LOCAL_PUBLICATION_TIME,
    PUBLICATION_TIME,
    KeyTooYoung,
    SigningKeys,
)
from auth_service.settings import Settings
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.races import at_once
from tests.support.stores import KEYRING_KEY, SESSION_KEY, Query, Stores, asking, temporary_database

ADA = "ada@example.org"
PASSWORD = "correct horse battery"
JWKS = "/.well-known/jwks.json"


@pytest.fixture
def url(stores: Stores) -> Iterator[str]:
    """A database of the test's own: the keys of the others are not to be touched."""
    name = f"{make_url(stores.database_url).database}_keys"
    with temporary_database(stores.database_url, name):
        yield make_url(stores.database_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def two(url: str, make_settings: Callable[..., Settings]) -> Iterator[list[Flask]]:
    """Two processes over it."""
    from auth_service.app import create_app
    from tests.support.application import forget

    made = [create_app(make_settings(database_url=url, rate_limits="off")) for _ in range(2)]
    with made[0].app_context():
        upgrade()
    yield made
    for app in made:
        forget(app)


@pytest.fixture
def query(url: str) -> Query:
    """Runs a statement beside the applications."""
    return asking(url)


def keyring(app: Flask) -> SigningKeys:
    services: Services = app.extensions["auth_service"]
    return services.signing_keys


def rotated(app: Flask, **how: Any) -> str:
    with app.app_context(), unit_of_work():
        return keyring(app).rotate(**how)


def published(app: Flask) -> list[str]:
    said = app.test_client().get(JWKS)
    assert said.status_code == 200
    return [key["kid"] for key in said.get_json()["keys"]]


@contextmanager
def reads(app: Flask) -> Iterator[list[str]]:
    """The times that the keys are read meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "signing_keys" in statement:
            seen.append(statement)

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note)
        yield seen
        event.remove(db.engine, "before_cursor_execute", note)


@contextmanager
def later(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> Iterator[None]:
    """The clock of this process is ahead meanwhile, and stands still."""
    then = time.monotonic() + by.total_seconds()
    with monkeypatch.context() as patched:
        patched.setattr(clock, "monotonic", lambda: then)
        yield


@pytest.mark.clock
def test_tk7_the_next_key_is_published_before_it_signs(two: list[Flask], query: Query) -> None:
    app, _ = two
    first = published(app)
    assert len(first) == 2
    assert dict(query("SELECT state, kid FROM signing_keys")).keys() == {"current", "next"}

    with pytest.raises(KeyTooYoung) as too_young:
        rotated(app)
    assert PUBLICATION_TIME - timedelta(seconds=30) < too_young.value.wait <= PUBLICATION_TIME
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    assert rotated(app) in first

    with pytest.raises(KeyTooYoung):
        rotated(app)  # twice in a row: the key that was made a moment ago is known to nobody
    time.sleep(CACHE_TTL.total_seconds())
    assert set(published(app)) > set(first)
    assert set(published(app)) == {kid for (kid,) in query("SELECT kid FROM signing_keys")}


@pytest.mark.clock
def test_tk7_a_key_that_signs_no_more_is_wiped_and_leaves_when_its_last_token_has_expired(
    two: list[Flask], query: Query
) -> None:
    app, other = two
    published(app)
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    (old,) = [kid for (kid,) in query("SELECT kid FROM signing_keys WHERE state = 'current'")]
    rotated(app)

    kept = query(
        "SELECT private_sealed, retire_at > now() + interval '15 minutes 30 seconds' FROM signing_keys"
        f" WHERE kid = '{old}'"
    )
    assert kept == [(None, True)]
    assert old in published(other)
    query(f"UPDATE signing_keys SET retire_at = now() WHERE kid = '{old}'")
    time.sleep(CACHE_TTL.total_seconds())
    assert old not in published(other)
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    rotated(app)
    assert query(f"SELECT count(*) FROM signing_keys WHERE kid = '{old}'") == [(0,)]


def test_tk7_private_halves_are_sealed_and_never_published(two: list[Flask], query: Query) -> None:
    answer = two[0].test_client().get(JWKS)

    for key in answer.get_json()["keys"]:
        assert key.keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    assert all(b"PRIVATE" not in bytes(sealed) for (sealed,) in query("SELECT private_sealed FROM signing_keys"))
    with two[0].app_context():
        assert "signing_key" not in repr(keyring(two[0]).for_verification()).replace("signing_kid", "")


def test_tk7_the_key_set_may_be_kept_for_a_while_and_asked_for_again_cheaply(two: list[Flask]) -> None:
    client, other = (app.test_client() for app in two)

    answer = client.get(JWKS)

    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert answer.headers["ETag"] == other.get(JWKS).headers["ETag"]
    again = client.get(JWKS, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get(JWKS, headers={"If-None-Match": '"x"'}).status_code == 200
    assert client.head(JWKS).status_code == 200
    assert refusal(client.post(JWKS))["code"] == "method_not_allowed"


@pytest.mark.slow
def test_tk7_three_rotations_under_load_refuse_no_token(two: list[Flask], tmp_path: Any, query: Query) -> None:
    from auth_service.adapters.email.dev_inbox import DevInbox

    ApiClient(two[0]).register(ADA, Mailbox(two[0], DevInbox(tmp_path)), password=PASSWORD)
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    done = threading.Event()
    refused: list[str] = []
    kids: set[str] = set()
    asked = [0]

    def user(signs: Flask, verifies: Flask) -> None:
        tokens = ApiClient(signs).signed_in(ADA, PASSWORD)
        kept: list[str] = []
        while not done.is_set():
            answer = ApiClient(signs).refresh(tokens["refresh_token"])
            if answer.status_code != 200:
                refused.append(answer.text)
                return
            tokens = answer.get_json()["data"]
            kids.add(jwt.get_unverified_header(tokens["access_token"])["kid"])
            # The newest token, and those of all keys before: each is good for fifteen minutes.
            kept = [*kept[-4:], tokens["access_token"]] if len(kept) < 40 else [*kept[::10], tokens["access_token"]]
            for token in kept:
                answer = ApiClient(verifies).with_token(token, "GET", "/me")
                asked[0] += 1
                if answer.status_code != 200:
                    refused.append(answer.text)

    people = [threading.Thread(target=user, args=pair) for pair in (two, two[::-1]) for _ in range(2)]
    for thread in people:
        thread.start()
    for _ in range(3):
        with two[0].app_context():
            said = two[0].test_cli_runner().invoke(keys, ["rotate", "--now"])
        assert said.exit_code == 0, said.output
        [(current,)] = query("SELECT kid FROM signing_keys WHERE state = 'current'")
        give_up_at = time.monotonic() + 20
        while current not in kids and time.monotonic() < give_up_at:  # until a user has a token of this key
            time.sleep(0.05)
    done.set()
    for thread in people:
        thread.join(30)

    assert refused == []
    assert asked[0] > 50
    assert len(kids) >= 3


def test_tk7_a_rotation_is_known_everywhere_within_seconds(
    two: list[Flask], query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, other = two
    assert published(app) == published(other)
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    kid = rotated(app)

    assert keyring(other).for_verification().signing_kid != kid
    with later(monkeypatch, CACHE_TTL), other.app_context():
        assert keyring(other).for_signing().signing_kid == kid


def test_tk7_an_unknown_key_id_is_looked_for_once_a_second_and_only_here(
    two: list[Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = two
    published(app)
    heads = [{"alg": "ES256", "typ": "at+jwt", "kid": f"k{number}"} for number in range(20)]
    strange = [
        f"{base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip('=')}.e30.{'A' * 86}" for head in heads
    ]

    with later(monkeypatch, timedelta(seconds=1.1)), reads(app) as statements:
        answers = [ApiClient(app).with_token(token, "GET", "/me") for token in strange]
        assert {refusal(answer)["code"] for answer in answers} == {"token_invalid"}

    assert len(statements) == 1


def test_tk7_many_requests_wait_for_one_that_reads(two: list[Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = two

    def ask() -> str:
        with app.app_context():
            return keyring(app).for_verification().signing_kid

    with app.app_context():
        keyring(app).for_verification()
    with later(monkeypatch, CACHE_TTL), reads(app) as statements:
        assert len(set(at_once(20, ask))) == 1

    assert len(statements) == 1


def test_a5_after_a_pause_all_concurrent_requests_get_keys_to_sign_with(
    two: list[Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = two

    def ask() -> str:
        with app.app_context():
            return keyring(app).for_signing().signing_kid

    ask()
    with later(monkeypatch, timedelta(seconds=31)), reads(app) as statements:
        assert len(set(at_once(20, ask))) == 1

    assert len(statements) == 1


def test_tk7_without_postgres_tokens_are_checked_with_the_keys_that_are_held(
    two: list[Flask], make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = make_app(database_url="postgresql://nobody@127.0.0.1:1/nothing")
    with two[0].app_context():
        key_set = keyring(two[0]).for_verification()

    # The same process, whose database has gone.
    with later(monkeypatch, CACHE_TTL), away.app_context():
        assert keyring(two[0]).for_verification() is key_set
        assert keyring(two[0]).for_signing() is key_set
        assert keyring(two[0]).for_kid(key_set.signing_kid) is key_set
        with pytest.raises(DatabaseUnavailable):
            keyring(two[0]).for_kid("unknown")  # it may be a key that was made meanwhile
    with later(monkeypatch, timedelta(seconds=31)), away.app_context(), pytest.raises(DatabaseUnavailable):
        keyring(two[0]).for_signing()  # by now they may have been rotated


def test_a_first_start_without_postgres_is_a_503(make_app: MakeApp) -> None:
    away = make_app(database_url="postgresql://nobody@127.0.0.1:1/nothing")

    for answer in (
        away.test_client().get(JWKS),
        ApiClient(away).with_token(jwt.encode({}, "x" * 32, headers={"typ": "at+jwt", "kid": "x"}), "GET", "/me"),
        away.test_client().get("/api/v1/sessions/verify", headers={"Authorization": "Bearer x.y.z"}),
    ):
        assert answer.status_code in (401, 503)
    answer = away.test_client().get(JWKS)
    assert (answer.status_code, refusal(answer)["code"]) == (503, "database_away")
    assert answer.headers["Cache-Control"] == "no-store"


def test_another_keyring_key_opens_nothing_until_the_keys_are_replaced(
    two: list[Flask], url: str, make_settings: Callable[..., Settings], query: Query
) -> None:
    from auth_service.app import create_app
    from tests.support.application import forget

    published(two[0])
    changed = create_app(make_settings(database_url=url, keyring_key=KEYRING_KEY[::-1]))
    try:
        answer = changed.test_client().get(JWKS)
        assert (answer.status_code, refusal(answer)["code"]) == (503, "keys_sealed")
        with changed.app_context():
            began = time.monotonic()
            [trouble] = wait_for_dependencies(changed.extensions["auth_service"])
            assert trouble.startswith("KEYRING_KEY: ")
            assert time.monotonic() - began < 15, "waiting for another key is in vain"
        query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
        with pytest.raises(KeysSealed):
            rotated(changed)

        said = changed.test_cli_runner().invoke(keys, ["replace"])

        assert said.output.endswith(" signs now\n")
        assert query("SELECT state FROM signing_keys ORDER BY state") == [("current",), ("next",), ("previous",)]
        assert len(published(changed)) == 3
    finally:
        forget(changed)


def test_after_a_leak_no_token_of_before_is_good(two: list[Flask], tmp_path: Any) -> None:
    from auth_service.adapters.email.dev_inbox import DevInbox

    app, _ = two
    api = ApiClient(app)
    api.register(ADA, Mailbox(app, DevInbox(tmp_path)), password=PASSWORD)
    tokens = api.signed_in(ADA, PASSWORD)
    before = published(app)

    said = app.test_cli_runner().invoke(keys, ["replace", "--distrust"])

    assert said.exit_code == 0
    time.sleep(CACHE_TTL.total_seconds())
    assert not set(before) & set(published(app))
    assert refusal(api.with_token(tokens["access_token"], "GET", "/me"))["code"] == "token_invalid"
    fresh = api.refresh(tokens["refresh_token"]).get_json()["data"]["access_token"]
    assert api.with_token(fresh, "GET", "/me").status_code == 200


def test_an_operator_sees_the_keys_and_rotates_them(two: list[Flask], query: Query) -> None:
    app, _ = two
    published(app)
    runner: FlaskCliRunner = app.test_cli_runner()

    early = runner.invoke(keys, ["rotate"])
    assert early.exit_code == 1
    assert "has to be published for another" in early.output
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    kid = runner.invoke(keys, ["rotate"]).output.removesuffix(" signs now\n")

    listed = runner.invoke(keys, ["list"]).output.splitlines()
    assert [line.split()[1] for line in listed] == ["previous", "current", "next"]
    assert listed[1].startswith(kid)
    assert "verifies until 20" in listed[0]
    began = time.monotonic()
    assert runner.invoke(keys, ["rotate", "--now"]).exit_code == 0
    assert time.monotonic() - began > LOCAL_PUBLICATION_TIME.total_seconds() - 1


def test_sealed_with_another_key_nothing_opens() -> None:
    box = Sealer(KEYRING_KEY, purpose="signing keys").seal({"pem": "x"}, place=b"kid")

    assert Sealer(KEYRING_KEY, purpose="signing keys").open(box, place=b"kid") == {"pem": "x"}
    for sealer, place in (
        (Sealer(SESSION_KEY, purpose="signing keys"), b"kid"),
        (Sealer(KEYRING_KEY, purpose="letters"), b"kid"),
        (Sealer(KEYRING_KEY, purpose="signing keys"), b"another"),
    ):
        with pytest.raises(SealBroken):
            sealer.open(box, place=place)
