"""Wrong tokens: any other value in place of an access token gets 401 and an error that says what to send."""

import time
import uuid
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from auth_service import clock
from auth_service.db import db
from auth_service.services.tokens.signing_keys import CACHE_TTL
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.forgery import (
    ADDED_TO_HEADER,
    HMAC_ALGORITHMS,
    INVALID_ALGORITHMS,
    INVALID_CLAIMS,
    INVALID_KEY_IDS,
    INVALID_TIMES,
    INVALID_TYPES,
    Forger,
    decoded,
    malformed,
    other_values,
    public_secrets,
    with_a_flipped_bit,
    with_duplicate_names,
)
from tests.support.rewiring import rewired

ADA = "ada@example.org"
PASSWORD = "correct horse battery"


@pytest.fixture
def tokens(api: ApiClient, mailbox: Mailbox) -> dict[str, Any]:
    """The cookies and tokens of a user who has just signed in."""
    api.register(ADA, mailbox, password=PASSWORD)
    return api.signed_in(ADA, PASSWORD)


@pytest.fixture
def forger(app: Flask, services: Services, tokens: dict[str, Any]) -> Forger:
    """A forger with the real signing key, so that each rejection is due to the contents of the token."""
    header, claims, _ = tokens["access_token"].split(".")
    with app.app_context():
        key_set = services.signing_keys.for_verification()
    return Forger(header=decoded(header), claims=decoded(claims), key=key_set.signing_key)


def check_refused(api: ApiClient, *forged: str, code: str = "token_invalid") -> None:
    """Check that each forged token gets the 401 of the contract."""
    for token in forged:
        check_invalid(api.with_token(token, "GET", "/me"), token, code=code)


def check_invalid(answer: TestResponse, token: str, *, code: str = "token_invalid") -> None:
    assert (answer.status_code, refusal(answer)["code"]) == (401, code), token[:300]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="auth", error="invalid_token"'


def test_the_forger_can_create_valid_tokens(api: ApiClient, forger: Forger) -> None:
    assert api.with_token(forger.token(), "GET", "/me").status_code == 200


def test_tk1_tokens_with_another_algorithm_are_rejected(api: ApiClient, forger: Forger) -> None:
    for algorithm in INVALID_ALGORITHMS:
        check_refused(
            api,
            forger.unsigned(alg=algorithm),
            forger.token({"alg": algorithm}),
            forger.token({"alg": algorithm}).rpartition(".")[0] + ".",
        )


def test_tk1_tokens_signed_by_hmac_with_the_public_key_are_rejected(
    api: ApiClient, app: Flask, services: Services, forger: Forger
) -> None:
    with app.app_context():
        key_set = services.signing_keys.for_verification()
    public = key_set.verifying[key_set.signing_kid]
    jwks = app.test_client().get("/.well-known/jwks.json", base_url="https://localhost")

    for secret in public_secrets(public, jwks.data):
        check_refused(api, *(forger.by_hmac(secret, algorithm=name) for name in HMAC_ALGORITHMS))


def test_tk2_tokens_with_a_key_in_the_header_are_rejected(api: ApiClient, services: Services, forger: Forger) -> None:
    attacker = forger.with_key(generate_private_key(SECP256R1()))

    for header in attacker.headers_with_its_key():
        check_refused(api, attacker.token(header), forger.token(header))
    check_refused(api, attacker.token())


def test_tk2_unknown_and_malformed_key_ids_are_rejected(api: ApiClient, forger: Forger) -> None:
    check_refused(api, *(forger.token({"kid": kid}) for kid in INVALID_KEY_IDS))


def test_tk3_additional_header_parameters_are_rejected(api: ApiClient, forger: Forger) -> None:
    check_refused(api, *(forger.token(header) for header in ADDED_TO_HEADER))


def test_tk4_tokens_of_another_type_are_rejected(api: ApiClient, forger: Forger) -> None:
    check_refused(api, *(forger.token({"typ": typ}) for typ in INVALID_TYPES))


@pytest.mark.parametrize("claim", ["iss", "aud"])
def test_tk4_issuer_and_audience_must_match_exactly(api: ApiClient, forger: Forger, claim: str) -> None:
    check_refused(api, *(forger.token(**{claim: value}) for value in other_values(forger.claims[claim])))


def test_tk4_a_token_of_one_kind_is_rejected_as_another(
    api: ApiClient, tokens: dict[str, Any], services: Services
) -> None:
    device = api.client.get_cookie("__Host-device") or api.client.get_cookie("device")
    assert device is not None

    check_refused(api, tokens["refresh_token"], device.value)
    for other in (device.value, tokens["access_token"][:100]):
        answer = api.refresh(other)
        assert (answer.status_code, refusal(answer)["code"]) == (401, "refresh_rejected")
    for other in (tokens["access_token"], tokens["refresh_token"], device.value):
        reverted = api.client.post("/api/v1/account/undo", json={"token": other}, base_url="https://localhost")
        assert reverted.status_code in (404, 422)
    assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 200


@pytest.mark.clock
def test_tk5_clocks_may_differ_by_half_a_minute(api: ApiClient, forger: Forger) -> None:
    for claim, near, far, code in (
        ("exp", -28, -31, "token_expired"),
        ("nbf", 29, 32, "token_invalid"),
        ("iat", 29, 32, "token_invalid"),
    ):
        now = int(time.time())
        assert api.with_token(forger.token(**{claim: now + near}), "GET", "/me").status_code == 200, claim
        check_refused(api, forger.token(**{claim: now + far}), code=code)


def test_tk5_time_claims_must_be_integers(api: ApiClient, forger: Forger) -> None:
    for claim in ("exp", "nbf", "iat"):
        check_refused(api, *(forger.token(**{claim: invalid}) for invalid in INVALID_TIMES))


@pytest.mark.clock
def test_tk5_an_access_token_expires_after_fifteen_minutes(forger: Forger) -> None:
    assert forger.claims["exp"] - forger.claims["iat"] == 900
    assert forger.claims["nbf"] == forger.claims["iat"]


def test_tk6_tokens_contain_few_claims_and_are_small(app: Flask, services: Services, forger: Forger) -> None:
    assert forger.claims.keys() == {
        *("iss", "aud", "sub", "client_id", "sid", "jti", "iat", "nbf", "exp", "roles"),
        *("auth_time", "acr"),
    }
    assert forger.header == {"alg": "ES256", "typ": "at+jwt", "kid": forger.header["kid"]}
    assert isinstance(forger.claims["sub"], str)
    roles = [f"ROLE_NUMBER_{number:03}" for number in range(20)]
    assert {len(role) for role in roles} == {15}
    with app.app_context():
        key_set = services.signing_keys.for_verification()

    token = services.sessions.access_tokens.sign(
        key_set,
        user_id=2**53 - 1,
        session_id=uuid.uuid4(),
        roles=roles,
        auth_time=clock.now(),
        acr="aal2",
        now=clock.now(),
    )

    assert len(token) <= 1024


def test_tk13_malformed_claims_are_rejected(api: ApiClient, forger: Forger) -> None:
    check_refused(api, *(forger.token(**{claim: invalid}) for claim, invalid in INVALID_CLAIMS))


def test_tk12_a_token_with_the_session_of_another_user_is_rejected(
    api: ApiClient, forger: Forger, app: Flask, mailbox: Mailbox
) -> None:
    other = ApiClient(app).register("grace@example.org", mailbox, password=PASSWORD)

    check_refused(api, forger.token(sub=str(other)))


def test_tk12_the_token_of_an_ended_session_is_rejected_immediately(
    api: ApiClient, forger: Forger, tokens: dict[str, Any]
) -> None:
    assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 200
    api.with_token(tokens["access_token"], "DELETE", "/me/sessions")
    assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 200
    api.with_token(tokens["access_token"], "POST", "/sign_out")

    check_refused(api, tokens["access_token"], forger.token(), forger.token(jti="another"))


def test_tk12_roles_come_from_the_database(api: ApiClient, forger: Forger) -> None:
    me = api.with_token(forger.token(roles=["ROLE_ADMIN"]), "GET", "/me").get_json()

    assert me["data"]["roles"] == ["ROLE_PORTAL_USER"]


def test_tk13_a_token_with_any_flipped_bit_is_rejected(api: ApiClient, tokens: dict[str, Any]) -> None:
    token = tokens["access_token"]
    for flipped in with_a_flipped_bit(token):
        check_invalid(api.call("GET", "/me", headers={"Authorization": f"Bearer {flipped}"}), flipped)
    assert api.with_token(token, "GET", "/me").status_code == 200


def test_tk13_duplicate_claims_and_header_parameters_are_rejected(api: ApiClient, forger: Forger) -> None:
    check_refused(api, *with_duplicate_names(forger))


def test_tk13_malformed_tokens_are_rejected(api: ApiClient, forger: Forger, tokens: dict[str, Any]) -> None:
    check_refused(api, *malformed(forger, tokens["access_token"]))


def test_tk13_malformed_authorization_headers_are_rejected(api: ApiClient, tokens: dict[str, Any]) -> None:
    token = tokens["access_token"]
    for header in (
        f"Bearer {token}, Bearer {token}",
        f"Bearer {token},",
        f'Bearer "{token}"',
        f"Bearer token={token}",
        f"Token {token}",
        f"Basic {token}",
        f"BearerX {token}",
        token,
        "Bearer",
        "Bearer ",
        "",
        " ",
        "Bearer é",
        "Bearer \x7f",
    ):
        check_invalid(api.call("GET", "/me", headers={"Authorization": header}), header)
    for header in (f"bEARER {token}", f"Bearer  {token}", f"Bearer\t{token}", f" Bearer {token} "):
        assert api.call("GET", "/me", headers={"Authorization": header}).status_code == 200, header


def test_tk14_tokens_in_the_query_string_are_rejected(app: Flask, tokens: dict[str, Any]) -> None:
    client = ApiClient(app)
    for name in ("access_token", "token", "authorization", "bearer"):
        answer = client.call("GET", "/me", query_string={name: tokens["access_token"]})
        assert (answer.status_code, refusal(answer)["code"]) == (401, "token_missing")
    refreshed = client.call("POST", "/refresh_token", query_string={"refresh_token": tokens["refresh_token"]}, json={})
    assert refreshed.status_code == 422
    signed_in = client.call("POST", "/sign_in", query_string={"email": ADA, "password": PASSWORD}, json={})
    assert signed_in.status_code == 422


def test_tk7_tokens_of_a_removed_signing_key_are_rejected(
    api: ApiClient, app: Flask, services: Services, tokens: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 200
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("DELETE FROM signing_keys WHERE state = 'current'"))
        connection.execute(text("UPDATE signing_keys SET state = 'current' WHERE state = 'next'"))
    then = time.monotonic() + CACHE_TTL.total_seconds()
    later = replace(services.signing_keys, monotonic=lambda: then)
    monkeypatch.setitem(app.extensions, "auth_service", rewired(services, services.signing_keys, by=later))

    check_refused(api, tokens["access_token"])
