"""Forward auth: a gateway asks whether a request is authenticated, and passes the user and the roles on."""

from typing import Any

from flask import Flask

from tests.support import round_trips
from tests.support.actors import ADA, PASSWORD, ApiClient, refusal
from tests.support.service_client import made_key
from tests.support.stores import Query

VERIFY = "/api/v1/sessions/verify"


def test_forward_auth_returns_the_user_and_the_roles(
    ada: int, tokens: dict[str, Any], app: Flask, query: Query
) -> None:
    query("INSERT INTO roles VALUES ('ROLE_AUDITOR') ON CONFLICT DO NOTHING")
    query(f"INSERT INTO user_roles VALUES ({ada}, 'ROLE_AUDITOR')")
    gateway = app.test_client(use_cookies=False)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}

    answer = gateway.get(VERIFY, headers=bearer)

    assert answer.get_json() == {"success": True, "data": {"id": ada, "roles": ["ROLE_AUDITOR", "ROLE_PORTAL_USER"]}}
    assert answer.headers["X-User-Id"] == str(ada)
    assert answer.headers["X-User-Roles"] == "ROLE_AUDITOR,ROLE_PORTAL_USER"
    for same in (gateway.get(f"{VERIFY}?page=2&page=3", headers=bearer), gateway.head(VERIFY, headers=bearer)):
        assert (same.status_code, same.headers["X-User-Id"]) == (200, str(ada))
    with round_trips.counted() as waits:
        gateway.get(VERIFY, headers=bearer)
    assert len(waits) == 1
    query("DELETE FROM user_roles WHERE role = 'ROLE_AUDITOR'")
    query("DELETE FROM roles WHERE name = 'ROLE_AUDITOR'")


def test_tk13_forward_auth_returns_401_for_every_invalid_token(
    tokens: dict[str, Any], app: Flask, api: ApiClient
) -> None:
    gateway = app.test_client(use_cookies=False)
    token = tokens["access_token"]
    for header, code in (
        (None, "token_missing"),
        ("", "token_invalid"),
        ("Bearer ", "token_invalid"),
        ("Bearer é", "token_invalid"),
        (f"Bearer {token}x", "token_invalid"),
        (f"Bearer {tokens['refresh_token']}", "token_invalid"),
        (f"Basic {token}", "token_invalid"),
    ):
        answer = gateway.get(VERIFY, headers={} if header is None else {"Authorization": header})
        assert (answer.status_code, refusal(answer)["code"]) == (401, code), header
        assert "X-User-Id" not in answer.headers
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    answer = gateway.get(f"{VERIFY}?access_token={token}")
    assert (answer.status_code, refusal(answer)["code"]) == (401, "token_missing")

    api.with_token(token, "POST", "/sign_out")

    assert gateway.get(VERIFY, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_se5_forward_auth_applies_the_csrf_check_to_cookies(ada: int, app: Flask) -> None:
    browser = ApiClient(app)
    page = {"Origin": "http://127.0.0.1:5000", "X-Requested-With": "fetch"}
    assert (
        browser.call(
            "POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=page
        ).status_code
        == 200
    )

    def ask(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return browser.client.get(VERIFY, headers=named, base_url="https://localhost").status_code

    assert ask() == 200
    assert ask(X_Original_Method="GET", Origin="https://evil.example") == 200
    for name in ("X_Original_Method", "X_Forwarded_Method"):
        for method in ("POST", "delete", "FOO", ""):
            assert ask(**{name: method}) == 403, method
            assert ask(**{name: method}, Origin="https://evil.example", X_Requested_With="x") == 403
            assert ask(**{name: method}, Origin="http://127.0.0.1:5000") == 403
            assert ask(**{name: method}, Origin="http://127.0.0.1:5000", X_Requested_With="x") == 200
    assert ask(X_Original_Method="GET", X_Forwarded_Method="POST") == 403
    assert ask(Authorization="Bearer x") == 401, "a bearer call ignores cookies"


def test_tk13_forward_auth_with_a_service_key_requires_a_valid_key(app: Flask, tokens: dict[str, Any]) -> None:
    gateway = app.test_client(use_cookies=False)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    good, other = made_key(app, "sessions:verify").value, made_key(app, "tokens:introspect").value

    assert gateway.get(VERIFY, headers={**bearer, "X-Service-Key": good}).status_code == 200
    for key, status, code in ((other, 403, "scope_missing"), ("x", 401, "service_key_invalid")):
        answer = gateway.get(VERIFY, headers={**bearer, "X-Service-Key": key})
        assert (answer.status_code, refusal(answer)["code"]) == (status, code)
    assert refusal(gateway.get(VERIFY, headers={"X-Service-Key": good}))["code"] == "token_missing"
    assert refusal(gateway.get(VERIFY, headers={"Authorization": f"Bearer {good}"}))["code"] == "token_invalid"
