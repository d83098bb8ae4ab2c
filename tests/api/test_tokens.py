"""What other services ask: introspection, the check for gateways, and codes that they bring; and their keys."""

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
    """Her tokens."""
    return api.signed_in(ADA, PASSWORD)


@pytest.fixture
def shop(app: Flask) -> Shop:
    """A service that may ask about tokens."""
    return Shop(app, made_key(app, "tokens:introspect").value)


@contextmanager
def counted_statements(app: Flask) -> Iterator[list[str]]:
    """The statements that the application runs meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note)
        yield seen
        event.remove(db.engine, "before_cursor_execute", note)


# Introspection.


def test_a_service_learns_whose_access_token_it_was_shown(ada: int, tokens: dict[str, Any], shop: Shop) -> None:
    said = shop.learns(tokens["access_token"])

    # What the token says, and that it is one that may be shown.
    told = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert said == {"active": True, "token_type": "Bearer", **told}
    assert (said["sub"], said["aud"], said["iss"]) == (str(ada), "portal", "http://127.0.0.1:5000")
    assert said["roles"] == ["ROLE_PORTAL_USER"]
    assert shop.learns(tokens["access_token"], token_type_hint="refresh_token") == said
    assert shop.learns(tokens["access_token"], token_type_hint="of a kind that nobody knows") == said


def test_tk4_a_refresh_token_counts_only_where_it_is_asked_about(
    ada: int, tokens: dict[str, Any], shop: Shop, api: ApiClient
) -> None:
    token = tokens["refresh_token"]

    said = shop.learns(token, token_type_hint="refresh_token")

    assert said.keys() == {"active", "token_type", "iss", "sub", "sid", "exp", "roles"}
    assert (said["active"], said["token_type"], said["sub"]) == (True, "refresh_token", str(ada))
    # A service that was shown it in place of an access token, and reads only `active`, lets nobody in.
    assert shop.learns(token) == INACTIVE
    assert shop.learns(token, token_type_hint="access_token") == INACTIVE
    # To ask changes nothing; one that was used is none any more, and to ask about it is no theft.
    successor = api.refresh(token).get_json()["data"]["refresh_token"]
    assert shop.learns(token, token_type_hint="refresh_token") == INACTIVE
    assert shop.learns(successor, token_type_hint="refresh_token")["active"] is True


def test_tk12_the_roles_are_those_of_now(tokens: dict[str, Any], shop: Shop, query: Query) -> None:
    query("DELETE FROM user_roles")

    assert shop.learns(tokens["access_token"])["roles"] == []


@pytest.mark.clock
@pytest.mark.parametrize("ending", ["sign_out", "idle", "expired", "user deleted", "reused"])
def test_tk12_what_ended_is_inactive_and_nothing_more_is_said(
    tokens: dict[str, Any], shop: Shop, api: ApiClient, query: Query, ending: str
) -> None:
    match ending:
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


def test_what_is_no_token_is_inactive(tokens: dict[str, Any], shop: Shop) -> None:
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    head, body, signature = access.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    for odd in (
        "", " ", "x", "x.y.z", "..", "é", "=" * 76, "A" * 12000, "." * 1000, "null",
        f"{none}.{body}.", f"{head}.{body}.", f"{head}.{body}.{signature}x", f"{access} ", f"Bearer {access}",
        refresh[:-2], refresh + "AA", f"svc_{'0' * 12}_{'A' * 43}",
    ):  # fmt: skip
        assert shop.learns(odd) == INACTIVE, odd
        assert shop.learns(odd, token_type_hint="refresh_token") == INACTIVE, odd
    assert [shop.ask("\0").status_code, shop.ask_by_form("\0").status_code] == [422, 422]


def test_forms_are_read_as_rfc_6749_wants_it(tokens: dict[str, Any], shop: Shop) -> None:
    def ask(body: str, kind: str = "application/x-www-form-urlencoded") -> TestResponse:
        return shop.client.post(INTROSPECT, data=body, content_type=kind, headers=shop.headers)

    good = f"token={tokens['access_token']}"
    assert ask(good).get_json()["active"] is True
    assert ask(f"{good}&client_id=shop&resource=x", "application/x-www-form-urlencoded;charset=UTF-8").json["active"]  # type: ignore[index]
    for odd in ("", "token_type_hint=access_token", f"{good}&{good}", f"{good}&token=x", "%ff", "token=%ff", "&" * 50):
        answer = ask(odd)
        assert (answer.status_code, refusal(answer)["code"]) == (422, "validation_failed"), odd
    for kind in ("text/plain", "multipart/form-data", "application/xml"):
        assert refusal(ask(good, kind))["code"] == "content_type_unsupported"
    assert refusal(ask("token=" + "x" * 17_000))["code"] == "body_too_large"
    coded = shop.client.post(
        INTROSPECT, data={"token": tokens["access_token"]}, headers={**shop.headers, "Content-Encoding": "gzip"}
    )
    assert (coded.status_code, refusal(coded)["code"]) == (415, "content_encoding_unsupported")
    unknown = shop.client.post(INTROSPECT, json={"token": "x", "client_id": "shop"}, headers=shop.headers)
    assert refusal(unknown)["code"] == "validation_failed"


def test_an_introspection_costs_a_select_for_the_key_and_one_for_the_token(
    tokens: dict[str, Any], shop: Shop, app: Flask
) -> None:
    shop.ask(tokens["access_token"])  # the keyring is fresh, and the use of the key noted

    with round_trips.counted() as waits:
        shop.ask(tokens["access_token"])

    assert len(waits) == 2


# Service keys.


def test_tk13_without_a_good_key_nobody_asks(app: Flask, tokens: dict[str, Any]) -> None:
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
        (f"Bearer {key} ", "service_key_invalid"),
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
        asked = Shop(app, None)
        asked.headers = {} if header is None else {"Authorization": header}
        answer = asked.ask(tokens["access_token"])
        assert (answer.status_code, refusal(answer)["code"]) == (401, code), header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert Shop(app, key).learns(tokens["access_token"])["active"] is True


def test_libraries_may_say_who_they_are_by_basic_authentication(app: Flask, tokens: dict[str, Any]) -> None:
    key = made_key(app, "tokens:introspect").value

    answer = app.test_client().post(INTROSPECT, data={"token": tokens["access_token"]}, auth=("shop", key))

    assert answer.get_json()["active"] is True


def test_az7_a_key_is_good_for_its_scopes_only(app: Flask, tokens: dict[str, Any]) -> None:
    key = made_key(app, "registration:code", "sessions:verify").value

    answer = Shop(app, key).ask(tokens["access_token"])

    assert (answer.status_code, refusal(answer)["code"]) == (403, "scope_missing")
    assert refusal(answer)["scope"] == "tokens:introspect"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="auth", error="insufficient_scope"'


def test_tk15_a_key_is_no_users_token_and_the_other_way_round(
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
def test_tk15_a_key_ends_when_it_expires_and_at_once_when_it_is_revoked(
    app: Flask, services: Services, tokens: dict[str, Any], query: Query
) -> None:
    first, second = (made_key(app, "tokens:introspect") for _ in range(2))
    shops = [Shop(app, key.value) for key in (first, second)]
    assert [shop.ask("x").status_code for shop in shops] == [200, 200], "two are live at once, to change over"
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


def test_tk15_of_a_key_only_a_digest_is_kept(app: Flask, query: Query, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        made = made_key(app, "tokens:introspect")
        Shop(app, made.value).ask("x")
        Shop(app, made.value + "x").ask("x")

    secret = made.value.rpartition("_")[2]
    assert re.fullmatch(r"svc_[0-9a-f]{12}_[0-9A-Za-z]{43}", made.value)
    assert made.value not in repr(made)
    assert secret not in str(query("SELECT * FROM service_keys"))
    assert query("SELECT octet_length(digest) FROM service_keys") == [(32,)]
    assert secret not in caplog.text
    assert len({made_key(app, "tokens:introspect", name=f"n{number}").value for number in range(5)}) == 5


@pytest.mark.parametrize(
    "odd",
    [{"name": "Shop"}, {"name": ""}, {"name": "a b"}, {"name": "x" * 41}, {"ttl": timedelta()},
     {"ttl": timedelta(days=367)}, {"scopes": []}, {"scopes": ["users:delete"]}],
)  # fmt: skip
def test_az7_odd_keys_are_not_made(app: Flask, services: Services, query: Query, odd: dict[str, Any]) -> None:
    given = {"name": "shop", "scopes": ["tokens:introspect"], "ttl": timedelta(days=1), **odd}

    with app.app_context(), unit_of_work(), pytest.raises(KeyRefused):
        services.service_keys.create(**given)

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
    audit_cte = query("SELECT last_used_at FROM service_keys")
    assert audit_cte != [(None,)]
    with counted_statements(crowded) as statements:
        Shop(crowded, key).ask("x")
    assert [statement for statement in statements if statement.startswith("UPDATE")] == []
    assert query("SELECT last_used_at FROM service_keys") == audit_cte

    query("UPDATE service_keys SET last_used_at = now() - interval '61 seconds'")
    holder = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    holder.cursor().execute("SELECT * FROM service_keys FOR UPDATE")
    assert Shop(app, key).ask("x").status_code == 200, "another transaction locks the row, and no request waits"
    holder.rollback()
    holder.close()
    assert Shop(app, key).ask("x").status_code == 200
    assert query("SELECT last_used_at > now() - interval '10 seconds' FROM service_keys") == [(True,)]


# Gateways.


def test_a_gateway_learns_whose_request_it_is(ada: int, tokens: dict[str, Any], app: Flask, query: Query) -> None:
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


def test_tk13_a_gateway_hears_401_of_everything_that_is_not_good(
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


def test_se5_a_cookie_passes_a_gateway_only_from_our_own_pages(ada: int, app: Flask) -> None:
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


def test_tk13_a_gateway_that_names_a_key_needs_a_good_one(app: Flask, tokens: dict[str, Any]) -> None:
    gateway = app.test_client(use_cookies=False)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    good, other = made_key(app, "sessions:verify").value, made_key(app, "tokens:introspect").value

    assert gateway.get(VERIFY, headers={**bearer, "X-Service-Key": good}).status_code == 200
    for key, status, code in ((other, 403, "scope_missing"), ("x", 401, "service_key_invalid")):
        answer = gateway.get(VERIFY, headers={**bearer, "X-Service-Key": key})
        assert (answer.status_code, refusal(answer)["code"]) == (status, code)
    assert refusal(gateway.get(VERIFY, headers={"X-Service-Key": good}))["code"] == "token_missing"
    assert refusal(gateway.get(VERIFY, headers={"Authorization": f"Bearer {good}"}))["code"] == "token_invalid"


# Codes that services bring.


def test_az7_a_service_brings_its_own_codes_in_production(
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


def test_az7_without_a_good_key_codes_in_production_are_the_services_own(
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
