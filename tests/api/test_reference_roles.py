"""Golden requests of the reference implementation about roles: accepted word for word, answered in the envelope."""

from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, Mailbox
from tests.support.administration import AdminClient, Administration

SCOPES = ("roles:read", "roles:write", "roles:grant", "users:read", "films:edit")


@pytest.fixture
def administration(app: Flask, mailbox: Mailbox) -> Administration:
    administration = Administration(app, mailbox)
    administration.role("ROLE_EDITOR", "films:edit")
    return administration


@pytest.fixture
def admin(administration: Administration) -> AdminClient:
    return administration.administrator()


@pytest.fixture
def service(administration: Administration, app: Flask) -> AdminClient:
    """A service that sends its key in `X-TOKEN`."""
    key = administration.service(*SCOPES, base="/api/srv").headers["Authorization"].removeprefix("Bearer ")
    return AdminClient(app, {"X-TOKEN": key}, base="/api/srv")


@pytest.mark.parametrize("slash", ["", "/"])
def test_ro2_check_permissions_answers_with_and_without_a_trailing_slash(
    admin: AdminClient, service: AdminClient, administration: Administration, slash: str
) -> None:
    user_id = administration.user(ADA, "ROLE_EDITOR").user_id
    expected = {"user_id": user_id, "roles": ["ROLE_EDITOR", "ROLE_PORTAL_USER"]}

    for client in (admin, service):
        assert client.data("GET", f"/roles/check_permissions{slash}?user_id={user_id}") == expected


@pytest.mark.parametrize("as_text", [False, True])
def test_ro2_a_role_is_granted_and_revoked_by_the_field_names_of_the_reference(
    admin: AdminClient, service: AdminClient, administration: Administration, as_text: bool
) -> None:
    user_id = administration.user(ADA).user_id
    body: dict[str, Any] = {"user_id": str(user_id) if as_text else user_id, "role_id": "ROLE_EDITOR"}
    granted = {"user_id": user_id, "roles": ["ROLE_EDITOR", "ROLE_PORTAL_USER"]}
    revoked = {"user_id": user_id, "roles": ["ROLE_PORTAL_USER"]}

    for client in (admin, service):
        for _ in range(2):
            assert client.data("POST", "/roles", json=body) == granted
        for _ in range(2):
            assert client.data("DELETE", "/roles", query_string=body) == revoked


def test_ro2_the_grant_by_body_needs_the_permission_to_grant(administration: Administration) -> None:
    writer = administration.with_permissions("writer@example.org", "roles:write", "films:edit")
    body = {"user_id": writer.user_id, "role_id": "ROLE_EDITOR"}

    answer = writer.call("POST", "/roles", json=body)

    assert answer.status_code == 403
    assert answer.get_json()["error"]["permission"] == "roles:grant"


def test_ro2_a_service_creates_lists_and_deletes_roles(service: AdminClient) -> None:
    body = {"role_name": "ROLE_NEW", "description": "New."}
    created = service.data("POST", "/roles/create_role", json=body, status=201)

    assert created == {"role_id": "ROLE_NEW", "name": "ROLE_NEW"}
    assert "ROLE_NEW" in {role["name"] for role in service.data("GET", "/roles")}
    assert service.error("POST", "/roles/create_role", json=body) == (409, "role_taken")
    answer = service.call("DELETE", "/roles/ROLE_NEW/delete_role")
    assert (answer.status_code, answer.get_json()["result"]) == (200, "Ok")
    assert service.error("DELETE", "/roles/ROLE_NEW/delete_role") == (404, "role_unknown")


def test_ro2_a_service_reads_a_user_by_id(service: AdminClient, administration: Administration) -> None:
    user_id = administration.user(ADA, "ROLE_EDITOR").user_id

    user = service.data("GET", f"/users?user_id={user_id}")

    assert user.pop("registered_on").endswith("Z")
    assert user == {
        "id": user_id,
        "email": ADA,
        "roles": ["ROLE_EDITOR", "ROLE_PORTAL_USER"],
        "verified_mail": True,
    }
    assert service.error("GET", "/users?user_id=5") == (404, "user_unknown")


def test_ro2_services_need_the_scope(administration: Administration) -> None:
    client = administration.service("tokens:introspect", base="/api/srv")

    for method, path in (("GET", "/roles"), ("GET", "/users?user_id=1"), ("DELETE", "/roles/ROLE_EDITOR/delete_role")):
        assert client.error(method, path) == (403, "scope_missing")
