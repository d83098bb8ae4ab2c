"""Cache of the signing keys in each process: freshness, shared reads, and tokens while PostgreSQL is unavailable."""

import base64
import json
from datetime import timedelta

import jwt
import pytest
from flask import Flask

from auth_service.errors import DatabaseUnavailable
from auth_service.services.tokens.signing_keys import (
    CACHE_TTL,
)
from tests.support.actors import ApiClient, refusal
from tests.support.application import MakeApp
from tests.support.races import at_once
from tests.support.signing_keys import JWKS, later, let_pass, published, reads, rotate, signing_keys
from tests.support.stores import Query


def test_tk7_every_process_uses_the_new_key_within_seconds_of_a_rotation(two: list[Flask], query: Query) -> None:
    app, other = two
    assert published(app) == published(other)
    query("UPDATE signing_keys SET created_at = now() - interval '11 minutes'")
    kid = rotate(app)

    assert signing_keys(other).for_verification().signing_kid != kid
    with other.app_context():
        assert later(other, CACHE_TTL).for_signing().signing_kid == kid


def test_tk7_an_unknown_key_id_is_read_from_postgres_once_a_second_at_most(two: list[Flask]) -> None:
    app, _ = two
    published(app)
    heads = [{"alg": "ES256", "typ": "at+jwt", "kid": f"k{number}"} for number in range(20)]
    unknown_kid_tokens = [
        f"{base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip('=')}.e30.{'A' * 86}" for head in heads
    ]

    let_pass(app, timedelta(seconds=1.1))
    with reads(app) as statements:
        answers = [ApiClient(app).with_token(token, "GET", "/me") for token in unknown_kid_tokens]
        assert {refusal(answer)["code"] for answer in answers} == {"token_invalid"}

    assert len(statements) == 1


def test_tk7_concurrent_requests_share_one_read_of_the_keys(two: list[Flask]) -> None:
    app, _ = two
    with app.app_context():
        signing_keys(app).for_verification()
    key_service = later(app, CACHE_TTL)

    def read_signing_key() -> str:
        with app.app_context():
            return key_service.for_verification().signing_kid

    with reads(app) as statements:
        assert len(set(at_once(20, read_signing_key))) == 1

    assert len(statements) == 1


def test_a5_after_a_pause_all_concurrent_requests_get_keys_to_sign_with(two: list[Flask]) -> None:
    app, _ = two
    with app.app_context():
        signing_keys(app).for_signing()
    key_service = later(app, timedelta(seconds=31))

    def read_signing_key() -> str:
        with app.app_context():
            return key_service.for_signing().signing_kid

    with reads(app) as statements:
        assert len(set(at_once(20, read_signing_key))) == 1

    assert len(statements) == 1


def test_tk7_without_postgres_tokens_are_verified_with_the_cached_keys(two: list[Flask], make_app: MakeApp) -> None:
    unavailable = make_app(database_url="postgresql://auth@127.0.0.1:1/unavailable")
    with two[0].app_context():
        key_set = signing_keys(two[0]).for_verification()

    # The same process, after its database became unavailable.
    with unavailable.app_context():
        key_service = later(two[0], CACHE_TTL)
        assert key_service.for_verification() is key_set
        assert key_service.for_signing() is key_set
        assert key_service.for_kid(key_set.signing_kid) is key_set
        with pytest.raises(DatabaseUnavailable):
            key_service.for_kid("unknown")  # it may be a key that was created meanwhile
        with pytest.raises(DatabaseUnavailable):
            later(two[0], timedelta(seconds=31)).for_signing()  # the keys may have been rotated since


def test_a_first_start_without_postgres_is_a_503(make_app: MakeApp) -> None:
    unavailable = make_app(database_url="postgresql://auth@127.0.0.1:1/unavailable")

    for answer in (
        unavailable.test_client().get(JWKS),
        ApiClient(unavailable).with_token(
            jwt.encode({}, "x" * 32, headers={"typ": "at+jwt", "kid": "x"}), "GET", "/me"
        ),
        unavailable.test_client().get("/api/v1/sessions/verify", headers={"Authorization": "Bearer x.y.z"}),
    ):
        assert answer.status_code in (401, 503)
    answer = unavailable.test_client().get(JWKS)
    assert (answer.status_code, refusal(answer)["code"]) == (503, "database_away")
    assert answer.headers["Cache-Control"] == "no-store"
