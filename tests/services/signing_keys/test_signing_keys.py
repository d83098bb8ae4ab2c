"""Signing keys of access tokens: publication in the JWKS, key rotation without a rejected token, encryption at rest."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from auth_service.adapters.crypto.keys import SealBroken, Sealer
from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.app import create_app
from auth_service.cli.keys import keys
from auth_service.errors import KeysSealed
from auth_service.server.wsgi import wait_for_dependencies
from auth_service.services.tokens.signing_keys import (
    CACHE_TTL,
    LOCAL_PUBLICATION_TIME,
    PUBLICATION_TIME,
    KeyTooYoung,
)
from auth_service.settings import Settings
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.application import forget
from tests.support.signing_keys import JWKS, let_pass, published, rotate, signing_keys
from tests.support.stores import KEYRING_KEY, SESSION_KEY, Query

ADA = "ada@example.org"
PASSWORD = "correct horse battery"


@pytest.mark.clock
def test_tk7_the_next_key_is_published_before_it_signs(two: list[Flask], query: Query) -> None:
    app, _ = two
    first = published(app)
    assert len(first) == 2
    assert dict(query("SELECT state, kid FROM signing_keys")).keys() == {"current", "next"}

    with pytest.raises(KeyTooYoung) as too_young:
        rotate(app)
    assert PUBLICATION_TIME - timedelta(seconds=30) < too_young.value.wait <= PUBLICATION_TIME
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    assert rotate(app) in first

    with pytest.raises(KeyTooYoung):
        rotate(app)  # twice in a row: no other process has read the key that was created a moment ago
    let_pass(app, CACHE_TTL)
    assert set(published(app)) > set(first)
    assert set(published(app)) == {kid for (kid,) in query("SELECT kid FROM signing_keys")}


@pytest.mark.clock
def test_tk7_the_private_key_of_a_previous_key_is_erased_and_its_public_key_removed_when_its_last_token_has_expired(
    two: list[Flask], query: Query
) -> None:
    app, other = two
    published(app)
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    (old,) = [kid for (kid,) in query("SELECT kid FROM signing_keys WHERE state = 'current'")]
    rotate(app)

    previous = query(
        "SELECT private_sealed, retire_at > now() + interval '15 minutes 30 seconds' FROM signing_keys"
        f" WHERE kid = '{old}'"
    )
    assert previous == [(None, True)]
    assert old in published(other)
    query(f"UPDATE signing_keys SET retire_at = now() WHERE kid = '{old}'")
    let_pass(other, CACHE_TTL)
    assert old not in published(other)
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    rotate(app)
    assert query(f"SELECT count(*) FROM signing_keys WHERE kid = '{old}'") == [(0,)]


def test_tk7_private_keys_are_encrypted_and_never_published(two: list[Flask], query: Query) -> None:
    answer = two[0].test_client().get(JWKS)

    for key in answer.get_json()["keys"]:
        assert key.keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    assert all(b"PRIVATE" not in bytes(sealed) for (sealed,) in query("SELECT private_sealed FROM signing_keys"))
    with two[0].app_context():
        assert "signing_key" not in repr(signing_keys(two[0]).for_verification()).replace("signing_kid", "")


def test_tk7_the_key_set_can_be_cached_and_revalidated_by_etag(two: list[Flask]) -> None:
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
def test_tk7_three_rotations_under_load_reject_no_token(two: list[Flask], tmp_path: Any, query: Query) -> None:
    ApiClient(two[0]).register(ADA, Mailbox(two[0], DevInbox(tmp_path)), password=PASSWORD)
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    stop = threading.Event()
    rejected: list[str] = []
    kids: set[str] = set()
    requests = [0]

    def user(signs: Flask, verifies: Flask) -> None:
        tokens = ApiClient(signs).signed_in(ADA, PASSWORD)
        held: list[str] = []
        while not stop.is_set():
            answer = ApiClient(signs).refresh(tokens["refresh_token"])
            if answer.status_code != 200:
                rejected.append(answer.text)
                return
            tokens = answer.get_json()["data"]
            kids.add(jwt.get_unverified_header(tokens["access_token"])["kid"])
            # The newest token, and those of all earlier keys: each is valid for fifteen minutes.
            held = [*held[-4:], tokens["access_token"]] if len(held) < 40 else [*held[::10], tokens["access_token"]]
            for token in held:
                answer = ApiClient(verifies).with_token(token, "GET", "/me")
                requests[0] += 1
                if answer.status_code != 200:
                    rejected.append(answer.text)

    users = [threading.Thread(target=user, args=pair) for pair in (two, two[::-1]) for _ in range(2)]
    for thread in users:
        thread.start()
    for _ in range(3):
        with two[0].app_context():
            result = two[0].test_cli_runner().invoke(keys, ["rotate", "--now"])
        assert result.exit_code == 0, result.output
        [(current,)] = query("SELECT kid FROM signing_keys WHERE state = 'current'")
        give_up_at = time.monotonic() + 20
        while current not in kids and time.monotonic() < give_up_at:  # until a user holds a token of this key
            time.sleep(0.05)
    stop.set()
    for thread in users:
        thread.join(30)

    assert rejected == []
    assert requests[0] > 50
    assert len(kids) >= 3


def test_another_keyring_key_decrypts_no_signing_key_until_the_keys_are_replaced(
    two: list[Flask], url: str, make_settings: Callable[..., Settings], query: Query
) -> None:
    published(two[0])
    changed = create_app(make_settings(database_url=url, keyring_key=KEYRING_KEY[::-1]))
    try:
        answer = changed.test_client().get(JWKS)
        assert (answer.status_code, refusal(answer)["code"]) == (503, "keys_sealed")
        with changed.app_context():
            began = time.monotonic()
            [trouble] = wait_for_dependencies(changed.extensions["auth_service"])
            assert trouble.startswith("KEYRING_KEY: ")
            assert time.monotonic() - began < 15, "a process does not wait for another KEYRING_KEY"
        query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
        with pytest.raises(KeysSealed):
            rotate(changed)

        result = changed.test_cli_runner().invoke(keys, ["replace"])

        assert result.output.endswith(" signs now\n")
        assert query("SELECT state FROM signing_keys ORDER BY state") == [("current",), ("next",), ("previous",)]
        assert len(published(changed)) == 3
    finally:
        forget(changed)


def test_replace_with_distrust_rejects_every_earlier_token(two: list[Flask], tmp_path: Any) -> None:
    app, _ = two
    api = ApiClient(app)
    api.register(ADA, Mailbox(app, DevInbox(tmp_path)), password=PASSWORD)
    tokens = api.signed_in(ADA, PASSWORD)
    before = published(app)

    result = app.test_cli_runner().invoke(keys, ["replace", "--distrust"])

    assert result.exit_code == 0
    let_pass(app, CACHE_TTL)
    assert not set(before) & set(published(app))
    assert refusal(api.with_token(tokens["access_token"], "GET", "/me"))["code"] == "token_invalid"
    fresh = api.refresh(tokens["refresh_token"]).get_json()["data"]["access_token"]
    assert api.with_token(fresh, "GET", "/me").status_code == 200


def test_an_operator_lists_and_rotates_the_signing_keys(two: list[Flask], query: Query) -> None:
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


@pytest.mark.slow
def test_an_immediate_rotation_waits_until_all_processes_know_the_next_key(two: list[Flask]) -> None:
    app, _ = two
    published(app)
    began = time.monotonic()
    assert app.test_cli_runner().invoke(keys, ["rotate", "--now"]).exit_code == 0
    assert time.monotonic() - began > LOCAL_PUBLICATION_TIME.total_seconds() - 1


def test_a_value_sealed_with_another_key_purpose_or_place_cannot_be_opened() -> None:
    box = Sealer(KEYRING_KEY, purpose="signing keys").seal({"pem": "x"}, place=b"kid")

    assert Sealer(KEYRING_KEY, purpose="signing keys").open(box, place=b"kid") == {"pem": "x"}
    for sealer, place in (
        (Sealer(SESSION_KEY, purpose="signing keys"), b"kid"),
        (Sealer(KEYRING_KEY, purpose="letters"), b"kid"),
        (Sealer(KEYRING_KEY, purpose="signing keys"), b"another"),
    ):
        with pytest.raises(SealBroken):
            sealer.open(box, place=place)
