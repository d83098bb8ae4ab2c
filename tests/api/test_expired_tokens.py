"""Expired access tokens: `token_expired` for both transports, so that a client knows when to refresh."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, ApiClient, refusal
from tests.support.contracts import contracts
from tests.support.forgery import Forger, decoded
from tests.support.service_client import Shop, made_key
from tests.support.stores import Query

VERIFY = "/api/v1/sessions/verify"
ANOTHER_KEY = generate_private_key(SECP256R1())


@pytest.fixture
def tokens(ada: int, api: ApiClient) -> dict[str, Any]:
    """The tokens of Ada's session."""
    return api.signed_in(ADA, PASSWORD)


@pytest.fixture
def forger(tokens: dict[str, Any], app: Flask, services: Services) -> Forger:
    """Signs tokens of Ada's session with the key of the service."""
    header, claims, _ = tokens["access_token"].split(".")
    with app.app_context():
        key = services.signing_keys.for_verification().signing_key
    return Forger(header=decoded(header), claims=decoded(claims), key=key)


def expired(forger: Forger, **claims: Any) -> str:
    """A token that the service signed sixteen minutes ago."""
    issued_at = forger.claims["iat"] - 960
    return forger.token(**{"iat": issued_at, "nbf": issued_at, "exp": issued_at + 900, **claims})


def check_expired(answer: TestResponse) -> None:
    """Check for the error that tells a client to refresh."""
    assert (answer.status_code, refusal(answer)["code"]) == (401, "token_expired")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="auth", error="invalid_token"'


def test_tk5_every_endpoint_says_that_the_access_token_has_expired(
    tokens: dict[str, Any], forger: Forger, app: Flask
) -> None:
    token = expired(forger)
    sent: list[Callable[[ApiClient, str, str], TestResponse]] = [
        lambda client, method, path: client.with_token(token, method, path),
        lambda client, method, path: client.call(method, path, headers={"Cookie": f"access={token}"}),
        lambda client, method, path: client.call(
            method, path, headers={"Cookie": f"access={token}; refresh={tokens['refresh_token']}"}
        ),
        # The browser has deleted the cookie of the access token.
        lambda client, method, path: client.call(
            method, path, headers={"Cookie": f"refresh={tokens['refresh_token']}"}
        ),
    ]
    count = 0
    for method, rule, contract in contracts(app):
        path = re.sub(r"<uuid:\w+>", "00000000-0000-4000-8000-000000000000", rule).removeprefix("/api/v1/users")
        if contract is None or contract.access.name != "signed_in":
            continue
        count += 1
        for send in sent:
            check_expired(send(ApiClient(app, cookies=False), method, path))
    assert count >= 10
    assert ApiClient(app).refresh(tokens["refresh_token"]).status_code == 200, "the session is still active"


def test_tk5_forward_auth_says_that_the_access_token_has_expired(
    tokens: dict[str, Any], forger: Forger, app: Flask
) -> None:
    gateway = app.test_client(use_cookies=False)
    check_expired(gateway.get(VERIFY, headers={"Authorization": f"Bearer {expired(forger)}"}))
    check_expired(gateway.get(VERIFY, headers={"Cookie": f"access={expired(forger)}"}))
    check_expired(gateway.get(VERIFY, headers={"Cookie": f"refresh={tokens['refresh_token']}"}))


def test_tk4_introspection_says_only_that_an_expired_token_is_inactive(forger: Forger, app: Flask) -> None:
    assert Shop(app, made_key(app, "tokens:introspect").value).learns(expired(forger)) == {"active": False}


@pytest.mark.parametrize(
    "claims",
    [{"aud": "other"}, {"iss": "https://evil.example"}, {"sub": "x"}, {"roles": "ROLE"}, {"jti": None}, {"exp": None}],
)
def test_tk4_an_expired_token_that_is_invalid_otherwise_is_invalid(
    forger: Forger, api: ApiClient, claims: dict[str, Any]
) -> None:
    assert refusal(api.with_token(expired(forger, **claims), "GET", "/me"))["code"] == "token_invalid"


def test_tk1_an_expired_token_with_a_forged_signature_is_invalid(forger: Forger, api: ApiClient) -> None:
    forged = Forger(header=forger.header, claims=forger.claims, key=ANOTHER_KEY)

    assert refusal(api.with_token(expired(forged), "GET", "/me"))["code"] == "token_invalid"


def test_tk12_an_expired_token_of_an_ended_session_leads_to_the_sign_in(
    tokens: dict[str, Any], forger: Forger, api: ApiClient, query: Query
) -> None:
    query("UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'")

    check_expired(api.with_token(expired(forger), "GET", "/me"))
    assert refusal(api.refresh(tokens["refresh_token"]))["code"] == "refresh_rejected"
