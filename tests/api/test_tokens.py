"""Token introspection (RFC 7662), forward auth, service keys, and client-supplied codes of services."""

import base64
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import jwt
import psycopg2
import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from auth_service.db import db, unit_of_work
from auth_service.services.tokens.service_keys import KeyRefused
from auth_service.wiring import Services
from tests.support import round_trips
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.races import at_once
from tests.support.service_client import INTROSPECT, Shop, made_key
from tests.support.stores import Query, Stores

VERIFY = "/api/v1/sessions/verify"
INACTIVE = {"active": False}


@pytest.fixture
def tokens(ada: int, api: ApiClient) -> dict[str, Any]:
    """The tokens of Ada."""
    return api.signed_in(ADA, PASSWORD)


@pytest.fixture
def shop(app: Flask) -> Shop:
    """A service whose key allows token introspection."""
    return Shop(app, made_key(app, "tokens:introspect").value)


@contextmanager
def counted_statements(app: Flask) -> Iterator[list[str]]:
    """The SQL statements that the application executes in the block."""
    statements: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", record)
        yield statements
        event.remove(db.engine, "before_cursor_execute", record)


# Introspection.


def test_introspection_returns_the_claims_of_an_access_token(ada: int, tokens: dict[str, Any], shop: Shop) -> None:
    body = shop.learns(tokens["access_token"])

    # The claims of the token, `active` and the token type.
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert body == {"active": True, "token_type": "Bearer", "amr": ["pwd"], "permissions": [], **claims}
    assert (body["sub"], body["aud"], body["iss"]) == (str(ada), "portal", "http://127.0.0.1:5000")
    assert body["roles"] == ["ROLE_PORTAL_USER"]
    assert shop.learns(tokens["access_token"], token_type_hint="refresh_token") == body
    assert shop.learns(tokens["access_token"], token_type_hint="an unknown hint") == body


def test_tk4_a_refresh_token_is_active_only_with_its_type_hint(
    ada: int, tokens: dict[str, Any], shop: Shop, api: ApiClient
) -> None:
    token = tokens["refresh_token"]

    body = shop.learns(token, token_type_hint="refresh_token")

    assert body.keys() == {"active", "token_type", "iss", "sub", "sid", "exp", "roles"}
    assert (body["active"], body["token_type"], body["sub"]) == (True, "refresh_token", str(ada))
    # A service that reads only `active` must not accept a refresh token in place of an access token.
    assert shop.learns(token) == INACTIVE
    assert shop.learns(token, token_type_hint="access_token") == INACTIVE
    # Introspection changes nothing. A rotated token is inactive, and its introspection does not count as reuse.
    successor = api.refresh(token).get_json()["data"]["refresh_token"]
    assert shop.learns(token, token_type_hint="refresh_token") == INACTIVE
    assert shop.learns(successor, token_type_hint="refresh_token")["active"] is True


def test_tk12_introspection_returns_the_current_roles(tokens: dict[str, Any], shop: Shop, query: Query) -> None:
    query("DELETE FROM user_roles")

    assert shop.learns(tokens["access_token"])["roles"] == []


@pytest.mark.clock
@pytest.mark.parametrize("reason", ["sign_out", "idle", "expired", "user deleted", "reused"])
def test_tk12_tokens_of_an_ended_session_are_inactive_without_details(
    tokens: dict[str, Any], shop: Shop, api: ApiClient, query: Query, reason: str
) -> None:
    match reason:
        case "sign_out":
            api.with_token(tokens["access_token"], "POST", "/sign_out")
        case "idle":
            query("UPDATE sessions SET idle_at = now()")
        case "expired":
            query("UPDATE sessions SET expires_at = now()")
        case "user deleted":
            query("DELETE FROM users")
        case "reused":
            query("UPDATE sessions SET counter = 5, refreshed_at = now() - interval '1 hour'")
            api.refresh(tokens["refresh_token"])

    assert shop.learns(tokens["access_token"]) == INACTIVE
    assert shop.learns(tokens["refresh_token"], token_type_hint="refresh_token") == INACTIVE


def test_malformed_tokens_are_inactive(tokens: dict[str, Any], shop: Shop) -> None:
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    head, body, signature = access.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    for invalid in (
        "", " ", "x", "x.y.z", "..", "é", "=" * 76, "A" * 12000, "." * 1000, "null",
        f"{none}.{body}.", f"{head}.{body}.", f"{head}.{body}.{signature}x", f"{access} ", f"Bearer {access}",
        refresh[:-2], refresh + "AA", f"svc_{'0' * 12}_{'A' * 43}",
    ):  # fmt: skip
        assert shop.learns(invalid) == INACTIVE, invalid
        assert shop.learns(invalid, token_type_hint="refresh_token") == INACTIVE, invalid
    assert [shop.ask("\0").status_code, shop.ask_by_form("\0").status_code] == [422, 422]


def test_introspection_forms_follow_rfc_6749(tokens: dict[str, Any], shop: Shop) -> None:
    def ask(body: str, kind: str = "application/x-www-form-urlencoded") -> TestResponse:
        return shop.client.post(INTROSPECT, data=body, content_type=kind, headers=shop.headers)

    good = f"token={tokens['access_token']}"
    assert ask(good).get_json()["active"] is True
    assert ask(f"{good}&client_id=shop&resource=x", "application/x-www-form-urlencoded;charset=UTF-8").json["active"]  # type: ignore[index]
    for invalid in (
        "",
        "token_type_hint=access_token",
        f"{good}&{good}",
        f"{good}&token=x",
        "%ff",
        "token=%ff",
        "&" * 50,
    ):
        answer = ask(invalid)
        assert (answer.status_code, refusal(answer)["code"]) == (422, "validation_failed"), invalid
    for kind in ("text/plain", "multipart/form-data", "application/xml"):
        assert refusal(ask(good, kind))["code"] == "content_type_unsupported"
    assert refusal(ask("token=" + "x" * 17_000))["code"] == "body_too_large"
    coded = shop.client.post(
        INTROSPECT, data={"token": tokens["access_token"]}, headers={**shop.headers, "Content-Encoding": "gzip"}
    )
    assert (coded.status_code, refusal(coded)["code"]) == (415, "content_encoding_unsupported")
    unknown = shop.client.post(INTROSPECT, json={"token": "x", "client_id": "shop"}, headers=shop.headers)
    assert refusal(unknown)["code"] == "validation_failed"


def test_introspection_takes_one_query_for_the_key_and_one_for_the_token(
    tokens: dict[str, Any], shop: Shop, app: Flask
) -> None:
    shop.ask(tokens["access_token"])  # fills the cache of signing keys and records the use of the service key

    with round_trips.counted() as waits:
        shop.ask(tokens["access_token"])

    assert len(waits) == 2


# Service keys.


def test_tk13_introspection_requires_a_valid_service_key(app: Flask, tokens: dict[str, Any]) -> None:
    key = made_key(app, "tokens:introspect").value
    swapped = key[:-1] + ("A" if key[-1] != "A" else "B")
    unknown = f"svc_{'0' * 12}_{'A' * 43}"
    basic = base64.b64encode(f"shop:{swapped}".encode()).decode()
    for header, code in (
        (None, "service_key_missing"),
        ("", "service_key_invalid"),
        ("Bearer", "service_key_invalid"),
        (f"Bearer {swapped}", "service_key_invalid"),
        (f"Bearer {unknown}", "service_key_invalid"),
        (f"Bearer {key[:-1]}", "service_key_invalid"),
        (f"Bearer {key.upper()}", "service_key_invalid"),
        ("Bearer svc_٣", "service_key_invalid"),
        (f"Digest {key}", "service_key_invalid"),
        (key, "service_key_invalid"),
        (f"Basic {basic}", "service_key_invalid"),
        ("Basic !", "service_key_invalid"),
        ("Basic /w==", "service_key_invalid"),
        (f"Basic {base64.b64encode(key.encode()).decode()}", "service_key_invalid"),
    ):
        service = Shop(app, None)
        service.headers = {} if header is None else {"Authorization": header}
        answer = service.ask(tokens["access_token"])
        assert (answer.status_code, refusal(answer)["code"]) == (401, code), header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert Shop(app, key).learns(tokens["access_token"])["active"] is True


def test_a_service_key_is_accepted_by_basic_authentication(app: Flask, tokens: dict[str, Any]) -> None:
    key = made_key(app, "tokens:introspect").value

    answer = app.test_client().post(INTROSPECT, data={"token": tokens["access_token"]}, auth=("shop", key))

    assert answer.get_json()["active"] is True


def test_az7_a_service_key_is_limited_to_its_scopes(app: Flask, tokens: dict[str, Any]) -> None:
    key = made_key(app, "registration:code", "sessions:verify").value

    answer = Shop(app, key).ask(tokens["access_token"])

    assert (answer.status_code, refusal(answer)["code"]) == (403, "scope_missing")
    assert refusal(answer)["scope"] == "tokens:introspect"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="auth", error="insufficient_scope"'


def test_tk15_service_keys_and_user_tokens_are_not_interchangeable(
    app: Flask, tokens: dict[str, Any], api: ApiClient, ada: int
) -> None:
    key = made_key(app, "tokens:introspect", "sessions:verify", "registration:code").value

    for method, path in (("GET", "/me"), ("GET", "/me/sessions"), ("POST", "/sign_out"), ("DELETE", "/me/sessions")):
        answer = api.with_token(key, method, path)
        assert (answer.status_code, refusal(answer)["code"]) == (401, "token_invalid")
    assert refusal(api.refresh(key))["code"] == "refresh_rejected"
    for token in tokens["access_token"], tokens["refresh_token"]:
        assert refusal(Shop(app, token).ask(tokens["access_token"]))["code"] == "service_key_invalid"
        answer = api.with_token(token, "POST", f"/{ada}/send_code")
        assert (answer.status_code, refusal(answer)["code"]) == (401, "service_key_invalid")


@pytest.mark.clock
def test_tk15_a_service_key_is_invalid_once_it_expires_or_is_revoked(
    app: Flask, services: Services, tokens: dict[str, Any], query: Query
) -> None:
    first, second = (made_key(app, "tokens:introspect") for _ in range(2))
    shops = [Shop(app, key.value) for key in (first, second)]
    assert [shop.ask("x").status_code for shop in shops] == [200, 200], "two keys are valid at a time, for rotation"
    with pytest.raises(KeyRefused, match="two keys"):
        made_key(app, "tokens:introspect")
    made_key(app, "tokens:introspect", name="another")

    with app.app_context(), unit_of_work():
        assert services.service_keys.revoke(first.id)
        assert not services.service_keys.revoke(first.id)
    query(
        f"UPDATE service_keys SET created_at = now() - interval '2 days', expires_at = now() WHERE id = '{second.id}'"
    )

    assert [refusal(shop.ask("x"))["code"] for shop in shops] == ["service_key_invalid"] * 2
    assert Shop(app, made_key(app, "tokens:introspect").value).ask("x").status_code == 200


def test_tk15_only_a_digest_of_a_service_key_is_stored(
    app: Flask, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        key = made_key(app, "tokens:introspect")
        Shop(app, key.value).ask("x")
        Shop(app, key.value + "x").ask("x")

    secret = key.value.rpartition("_")[2]
    assert re.fullmatch(r"svc_[0-9a-f]{12}_[0-9A-Za-z]{43}", key.value)
    assert key.value not in repr(key)
    assert secret not in str(query("SELECT * FROM service_keys"))
    assert query("SELECT octet_length(digest) FROM service_keys") == [(32,)]
    assert secret not in caplog.text
    assert len({made_key(app, "tokens:introspect", name=f"n{number}").value for number in range(5)}) == 5


@pytest.mark.parametrize(
    "invalid",
    [{"name": "Shop"}, {"name": ""}, {"name": "a b"}, {"name": "x" * 41}, {"ttl": timedelta()},
     {"ttl": timedelta(days=367)}, {"scopes": []}, {"scopes": ["users:fly"]}, {"scopes": ["everything"]}],
)  # fmt: skip
def test_az7_invalid_service_keys_are_not_created(
    app: Flask, services: Services, query: Query, invalid: dict[str, Any]
) -> None:
    arguments = {"name": "shop", "scopes": ["tokens:introspect"], "ttl": timedelta(days=1), **invalid}

    with app.app_context(), unit_of_work(), pytest.raises(KeyRefused):
        services.service_keys.create(**arguments)

    assert query("SELECT count(*) FROM service_keys") == [(0,)]


@pytest.mark.clock
def test_tk15_the_last_use_is_recorded_once_a_minute_and_no_request_waits_for_it(
    app: Flask, crowded: Flask, query: Query, stores: Stores
) -> None:
    key = made_key(app, "tokens:introspect").value
    assert query("SELECT last_used_at FROM service_keys") == [(None,)]

    with counted_statements(crowded) as statements:
        answers = at_once(20, lambda: Shop(crowded, key).ask("x"))
    assert {answer.status_code for answer in answers} == {200}
    recorded = query("SELECT last_used_at FROM service_keys")
    assert recorded != [(None,)]
    with counted_statements(crowded) as statements:
        Shop(crowded, key).ask("x")
    assert [statement for statement in statements if statement.startswith("UPDATE")] == []
    assert query("SELECT last_used_at FROM service_keys") == recorded

    query("UPDATE service_keys SET last_used_at = now() - interval '61 seconds'")
    holder = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    holder.cursor().execute("SELECT * FROM service_keys FOR UPDATE")
    assert Shop(app, key).ask("x").status_code == 200, "another transaction locks the row, and no request waits"
    holder.rollback()
    holder.close()
    assert Shop(app, key).ask("x").status_code == 200
    assert query("SELECT last_used_at > now() - interval '10 seconds' FROM service_keys") == [(True,)]


# Forward auth.


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


# Client-supplied codes of services.


def test_az7_a_service_supplies_its_own_codes_in_production(
    production: Flask, mailbox_of_production: Mailbox, query: Query
) -> None:
    key = made_key(production, "registration:code").value
    portal = ApiClient(production)
    ada = portal.sign_up(ADA)

    assert portal.with_token(key, "POST", f"/{ada}/send_code", json={"code": 7505}).status_code == 200
    assert mailbox_of_production.code_sent_to(ADA) == "7505"
    assert portal.with_token(key, "POST", f"/{ada}/resend_code", json={"code": "7506"}).status_code == 200
    assert refusal(portal.confirm(ada, 7505))["code"] == "code_wrong"
    assert portal.confirm(ada, 7506).status_code == 200
    assert portal.finish(ada).get_json()["data"]["roles"] == ["ROLE_PORTAL_USER"]


def test_az7_client_supplied_codes_require_a_valid_service_key_in_production(
    production: Flask, mailbox_of_production: Mailbox
) -> None:
    other = made_key(production, "tokens:introspect").value
    api = ApiClient(production)
    ada = api.sign_up(ADA)

    assert api.ask_for_code(ada, 7505).status_code == 200
    assert mailbox_of_production.code_sent_to(ADA) != "7505"
    for step in ("send_code", "resend_code"):
        for key, status, code in (
            (other, 403, "scope_missing"),
            (other[:-1], 401, "service_key_invalid"),
            ("x.y.z", 401, "service_key_invalid"),
        ):
            answer = api.with_token(key, "POST", f"/{ada}/{step}", json={"code": 7505})
            assert (answer.status_code, refusal(answer)["code"]) == (status, code)
    assert len(mailbox_of_production.letters_to(ADA)) == 1
