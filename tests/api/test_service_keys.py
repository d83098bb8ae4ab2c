"""Service keys: authentication of services, scopes, expiry, revocation, and client-supplied codes of services."""

import base64
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import event

from auth_service.db import db, unit_of_work
from auth_service.services.tokens.service_keys import KeyRefused
from auth_service.wiring import Services
from tests.support.actors import ADA, ApiClient, Mailbox, refusal
from tests.support.races import at_once
from tests.support.service_client import INTROSPECT, Shop, made_key
from tests.support.stores import Query, Stores


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
