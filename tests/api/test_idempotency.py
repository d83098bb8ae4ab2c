"""Idempotency keys: a repeated POST with the same key is carried out once and gets the same answer."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_service.api.contract.swagger import from_openapi
from auth_service.app import create_app
from auth_service.db import unit_of_work
from auth_service.services.idempotency import delete_expired_keys
from auth_service.settings import Settings
from tests.support import secret_endpoint
from tests.support.administration import AdminClient, Administration
from tests.support.application import forget

pytestmark = pytest.mark.slow

Query = Callable[..., list[Any]]
KEY = {"Idempotency-Key": "4711-abc.DEF_0"}
ROLE: dict[str, Any] = {"name": "ROLE_EDITOR", "description": "Edits films.", "permissions": ["films:edit"]}


def test_lv6_a_repeated_request_gets_the_same_answer_and_does_nothing(admin: AdminClient, query: Query) -> None:
    first = admin.call("POST", "/roles", json=ROLE, headers=KEY)
    second = admin.call("POST", "/roles", json=ROLE, headers=KEY)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.get_data() == second.get_data()
    assert admin.error("POST", "/roles", json=ROLE) == (409, "role_taken"), "without the key it is another request"
    assert len(query("SELECT 1 FROM events WHERE kind = 'role.created'")) == 1


def test_lv6_another_body_with_the_same_key_is_rejected(admin: AdminClient) -> None:
    assert admin.call("POST", "/roles", json=ROLE, headers=KEY).status_code == 201

    other = admin.error("POST", "/roles", json={**ROLE, "name": "ROLE_OTHER"}, headers=KEY)

    assert other == (422, "idempotency_key_reused")


def test_lv6_another_caller_is_independent(admin: AdminClient, administration: Administration) -> None:
    service = administration.service("roles:write", "films:edit")
    other = administration.administrator("other@example.org")
    assert admin.call("POST", "/roles", json=ROLE, headers=KEY).status_code == 201

    for client in (service, other):
        assert client.error("POST", "/roles", json=ROLE, headers=KEY) == (409, "role_taken")


def test_lv6_a_failed_request_stores_no_answer(admin: AdminClient, query: Query) -> None:
    query("INSERT INTO roles (name) VALUES ('ROLE_EDITOR')")
    assert admin.error("POST", "/roles", json=ROLE, headers=KEY) == (409, "role_taken")
    query("DELETE FROM roles WHERE name = 'ROLE_EDITOR'")

    assert admin.call("POST", "/roles", json=ROLE, headers=KEY).status_code == 201


def test_lv6_a_caller_who_lost_the_permission_gets_no_stored_answer(
    admin: AdminClient, administration: Administration
) -> None:
    other = administration.administrator("other@example.org")
    assert admin.call("POST", "/roles", json=ROLE, headers=KEY).status_code == 201
    other.data("DELETE", f"/users/{admin.user_id}/roles/ROLE_PORTAL_ADMIN")

    assert admin.error("POST", "/roles", json=ROLE, headers=KEY) == (403, "permission_missing")


def test_lv6_a_key_expires_after_a_day(admin: AdminClient, query: Query, app: Flask) -> None:
    assert admin.call("POST", "/roles", json=ROLE, headers=KEY).status_code == 201
    [(ttl,)] = query("SELECT expires_at - now() FROM idempotency_keys")
    assert timedelta(hours=23) < ttl <= timedelta(hours=24)
    query("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")

    assert admin.error("POST", "/roles", json=ROLE, headers=KEY) == (409, "role_taken")
    assert admin.call("POST", "/roles", json={"name": "ROLE_OTHER"}, headers=KEY).status_code == 201
    query("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    with app.app_context(), unit_of_work():
        assert delete_expired_keys(at_most=10) == 1


@pytest.fixture
def answering_secrets(make_settings: Callable[..., Settings], admin: AdminClient) -> Iterator[AdminClient]:
    """The administrator as a client of an application with an endpoint that answers with a secret."""
    app = create_app(make_settings())
    secret_endpoint.add_to(app)
    yield AdminClient(app, admin.headers, base=f"{secret_endpoint.BASE}/v1")
    forget(app)


def test_lv6_a_secret_is_in_the_first_answer_only(answering_secrets: AdminClient, query: Query) -> None:
    first = answering_secrets.call("POST", "/secrets", headers=KEY)
    repeated = [answering_secrets.call("POST", "/secrets", headers=KEY) for _ in range(2)]

    created = first.get_json()["data"]
    assert (first.status_code, first.get_json()) == (201, {"success": True, "data": created})
    without_secret = {"success": True, "replayed": True, "data": {"number": created["number"]}}
    assert [(answer.status_code, answer.get_json()) for answer in repeated] == [(201, without_secret)] * 2
    [(answer,)] = query("SELECT answer::text FROM idempotency_keys")
    assert created["secret"]
    assert created["secret"] not in answer
    without_key = [answering_secrets.data("POST", "/secrets", status=201) for _ in range(2)]
    assert len({one["secret"] for one in [created, *without_key]}) == 3


def test_lv6_the_documents_say_that_a_repeated_answer_has_no_secret() -> None:
    document = secret_endpoint.document()
    schemas = document["components"]["schemas"]
    definitions = from_openapi(document)["definitions"]

    assert schemas["SecretResponse"]["required"] == definitions["SecretResponse"]["required"] == ["number"]
    assert schemas["SecretSuccessResponse"]["required"] == ["success", "data"]
    replayed = schemas["SecretSuccessResponse"]["properties"]["replayed"]
    assert (replayed["type"], replayed["examples"]) == ("boolean", [True])
    assert replayed["description"].startswith("Always true: ")
    assert definitions["SecretSuccessResponse"]["properties"]["replayed"]["example"] is True


@pytest.mark.parametrize("key", ["", "short", "a" * 65, "with space", "snow☃snow", "a/b/c/d/e"])
def test_lv6_a_malformed_key_is_rejected(admin: AdminClient, key: str) -> None:
    headers = {"Idempotency-Key": key.encode().decode("latin-1")}

    assert admin.error("POST", "/roles", json=ROLE, headers=headers) == (422, "validation_failed")
