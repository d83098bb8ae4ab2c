"""Token revocation (RFC 7009) and the metadata that names its endpoint (RFC 8414)."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.application import MakeApp
from tests.support.service_client import Shop, made_key

REVOKE = "/api/v1/tokens/revoke"
METADATA = "/.well-known/oauth-authorization-server"


def revoke(app: Flask, token: str, *, form: bool, **more: str) -> TestResponse:
    """Revoke as a client without cookies."""
    values = {"token": token, **more}
    return app.test_client(use_cookies=False).post(REVOKE, **({"data": values} if form else {"json": values}))


@pytest.fixture
def tokens(ada: int, api: ApiClient) -> dict[str, Any]:
    """Ada is signed in."""
    return api.signed_in(ADA, PASSWORD)


@pytest.mark.parametrize("form", [False, True], ids=["JSON", "form"])
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "unknown"])
def test_a_token_revokes_its_session_whatever_the_hint(
    app: Flask, api: ApiClient, tokens: dict[str, Any], form: bool, kind: str, hint: str | None
) -> None:
    other = api.signed_in(ADA, PASSWORD)

    answer = revoke(app, tokens[kind], form=form, **({} if hint is None else {"token_type_hint": hint}))

    assert (answer.status_code, answer.get_json()) == (200, {"success": True, "result": "Ok"})
    assert not api.is_signed_in(tokens["access_token"])
    assert api.refresh(tokens["refresh_token"]).status_code == 401
    assert api.is_signed_in(other["access_token"]), "another session of the user stays"
    history = api.with_token(other["access_token"], "GET", "/me/login_history").get_json()["data"]
    assert [event["kind"] for event in history][:1] == ["signed_out"]


@pytest.mark.parametrize("form", [False, True], ids=["JSON", "form"])
def test_unknown_expired_and_revoked_tokens_are_answered_alike(
    app: Flask, api: ApiClient, tokens: dict[str, Any], form: bool
) -> None:
    revoke(app, tokens["refresh_token"], form=form)
    again = [tokens["access_token"], tokens["refresh_token"], "x", "a.b.c", "svc_0", "", "é"]

    answers = [revoke(app, token, form=form) for token in again]

    assert [(each.status_code, each.get_json()) for each in answers] == [(200, {"success": True, "result": "Ok"})] * 7


def test_a_used_refresh_token_revokes_its_session_as_on_every_reuse(
    app: Flask, api: ApiClient, tokens: dict[str, Any]
) -> None:
    first = api.refresh(tokens["refresh_token"]).get_json()["data"]
    second = api.refresh(first["refresh_token"]).get_json()["data"]

    assert revoke(app, tokens["refresh_token"], form=True).status_code == 200

    assert not api.is_signed_in(second["access_token"])


def test_cookies_revoke_nothing(app: Flask, ada: int, api: ApiClient) -> None:
    browser = ApiClient(app)
    headers = {"X-Requested-With": "test", "Origin": "http://127.0.0.1:5000"}
    answer = browser.call(
        "POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=headers
    )
    assert answer.status_code == 200

    without_token = browser.client.post(REVOKE, json={}, headers=headers, base_url="https://localhost")
    unknown = browser.client.post(REVOKE, json={"token": "x"}, headers=headers, base_url="https://localhost")

    assert (without_token.status_code, unknown.status_code) == (422, 200)
    assert "Set-Cookie" not in unknown.headers
    assert browser.call("GET", "/me").status_code == 200


def test_introspection_finds_a_revoked_session_inactive(app: Flask, tokens: dict[str, Any]) -> None:
    shop = Shop(app, made_key(app, "tokens:introspect", lives=timedelta(days=1)).value)
    assert shop.learns(tokens["access_token"])["active"]

    revoke(app, tokens["access_token"], form=True)

    assert shop.learns(tokens["access_token"]) == {"active": False}


def test_revocations_count_for_the_limit_of_refreshes(make_app: MakeApp) -> None:
    limited = make_app(limit_refreshes="2/1m")

    answers = [revoke(limited, "x", form=True) for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[2].get_json()["error"]["code"] == "too_many_requests"


def test_the_metadata_names_endpoints_that_exist_and_promises_no_authorization_server(
    app: Flask, api: ApiClient, ada: int, mailbox: Mailbox
) -> None:
    client = app.test_client()

    answer = client.get(METADATA)

    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    metadata = answer.get_json()
    issuer = metadata["issuer"]
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    shop = Shop(app, made_key(app, "tokens:introspect").value)
    assert shop.learns(token)["iss"] == issuer
    assert client.get(metadata["jwks_uri"].removeprefix(issuer)).get_json()["keys"]
    assert client.post(metadata["introspection_endpoint"].removeprefix(issuer)).status_code == 401
    assert client.post(metadata["revocation_endpoint"].removeprefix(issuer), data={"token": token}).status_code == 200
    assert metadata["introspection_endpoint_auth_methods_supported"] == ["client_secret_basic", "Bearer"]
    assert metadata["revocation_endpoint_auth_methods_supported"] == ["none"]
    assert (metadata["response_types_supported"], metadata["grant_types_supported"]) == ([], [])
    assert not {"token_endpoint", "authorization_endpoint"} & metadata.keys()
