"""Roles and permissions: list, create, change, delete, grant, revoke, check; privilege escalation is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.models.permission import Permission
from tests.support.actors import ADA, PASSWORD, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.application import MakeApp

Query = Callable[..., list[Any]]


EDITOR: dict[str, Any] = {"name": "ROLE_EDITOR", "description": "Edits films.", "permissions": ["films:edit"]}


def test_ro1_an_administrator_creates_reads_changes_and_deletes_a_role(admin: AdminClient) -> None:
    assert admin.data("POST", "/roles", json=EDITOR, status=201) == {**EDITOR, "system": False}
    assert admin.data("GET", "/roles/ROLE_EDITOR") == {**EDITOR, "system": False}

    changed = admin.data("PATCH", "/roles/ROLE_EDITOR", json={"permissions": ["films:edit", "films:delete"]})

    assert changed == {**EDITOR, "permissions": ["films:delete", "films:edit"], "system": False}
    assert admin.data("PATCH", "/roles/ROLE_EDITOR", json={"description": "All."})["description"] == "All."
    assert admin.data("DELETE", "/roles/ROLE_EDITOR") is None
    assert admin.error("GET", "/roles/ROLE_EDITOR") == (404, "role_unknown")


def test_ro1_roles_are_listed_in_pages_with_a_cursor_of_the_caller(
    admin: AdminClient, administration: Administration
) -> None:
    for number in range(5):
        administration.role(f"ROLE_A{number}", "films:edit")
    first = admin.call("GET", "/roles?limit=3").get_json()
    second = admin.call("GET", f"/roles?limit=50&cursor={first['next_cursor']}").get_json()

    names = [role["name"] for role in first["data"] + second["data"]]
    assert names == sorted(names)
    assert set(names) >= {"ROLE_A0", "ROLE_A4", "ROLE_PORTAL_ADMIN", "ROLE_PORTAL_USER", "ROLE_TEMPORARY_USER"}
    assert second["next_cursor"] is None
    other = administration.administrator("other@example.org")
    assert other.error("GET", f"/roles?cursor={first['next_cursor']}") == (422, "validation_failed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "EDITOR"}, "name"),
        ({"name": "ROLE_"}, "name"),
        ({"name": "ROLE_" + "A" * 60}, "name"),
        ({"name": "ROLE_editor"}, "name"),
        ({"name": "ROLE_X", "permissions": ["films"]}, "permissions.0"),
        ({"name": "ROLE_X", "permissions": ["users:fly"]}, "permissions.0"),
        ({"name": "ROLE_X", "permissions": ["tokens:introspect"]}, "permissions.0"),
        ({"name": "ROLE_X", "permissions": ["Films:edit"]}, "permissions.0"),
        ({"name": "ROLE_X", "description": ""}, "description"),
        ({"name": "ROLE_X", "system": True}, "system"),
    ],
)
def test_ro1_an_invalid_role_is_rejected_by_field(admin: AdminClient, body: dict[str, Any], field: str) -> None:
    answer = admin.call("POST", "/roles", json=body)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json()["error"]["fields"]] == [field]


def test_ro1_conflicts_of_roles_have_codes(admin: AdminClient, administration: Administration) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    editor = administration.user(ADA, "ROLE_EDITOR")

    assert admin.error("POST", "/roles", json=EDITOR) == (409, "role_taken")
    in_use = admin.call("DELETE", "/roles/ROLE_EDITOR")
    assert (in_use.status_code, in_use.get_json()["error"]["code"]) == (409, "role_in_use")
    assert in_use.get_json()["error"]["users"] == 1
    for name in ("ROLE_PORTAL_ADMIN", "ROLE_PORTAL_USER", "ROLE_TEMPORARY_USER"):
        assert admin.error("PATCH", f"/roles/{name}", json={"description": "x"}) == (409, "role_is_system")
        assert admin.error("DELETE", f"/roles/{name}") == (409, "role_is_system")
    for name in ("ROLE_PORTAL_USER", "ROLE_TEMPORARY_USER"):
        assert admin.error("PUT", f"/users/{editor.user_id}/roles/{name}") == (409, "role_is_system")
    assert admin.error("PUT", f"/users/{editor.user_id}/roles/ROLE_X") == (404, "role_unknown")
    assert admin.error("PUT", "/users/1/roles/ROLE_EDITOR") == (404, "user_unknown")


def test_ro1_the_numbers_of_roles_and_permissions_are_bounded(
    admin: AdminClient, administration: Administration, query: Query
) -> None:
    many = [f"films:p{number}" for number in range(101)]
    assert admin.error("POST", "/roles", json={"name": "ROLE_X", "permissions": many}) == (409, "limit_reached")
    assert admin.data("POST", "/roles", json={"name": "ROLE_X", "permissions": many[:100]}, status=201)
    user = administration.user(ADA)
    query("INSERT INTO roles (name) SELECT 'ROLE_N' || n FROM generate_series(1, 196) n")

    assert admin.error("POST", "/roles", json={"name": "ROLE_Y"}) == (409, "limit_reached")
    administration.grant(user.user_id or 0, *(f"ROLE_N{number}" for number in range(1, 20)))
    assert admin.error("PUT", f"/users/{user.user_id}/roles/ROLE_N30") == (409, "limit_reached")
    assert len(admin.data("PUT", f"/users/{user.user_id}/roles/ROLE_N1")["roles"]) == 20


def test_ro5_a_granted_and_a_revoked_permission_take_effect_with_the_next_request(
    admin: AdminClient, administration: Administration
) -> None:
    administration.role("ROLE_READER", "roles:read")
    user = administration.user(ADA)
    path = f"/users/{user.user_id}/roles/ROLE_READER"

    assert user.error("GET", "/roles") == (403, "permission_missing")
    granted = admin.data("PUT", path)
    assert granted == {"user_id": user.user_id, "roles": ["ROLE_PORTAL_USER", "ROLE_READER"]}
    assert admin.data("PUT", path) == granted
    assert user.call("GET", "/roles").status_code == 200
    assert user.data("GET", "/users/me")["permissions"] == ["roles:read"]

    revoked = admin.data("DELETE", path)
    assert revoked == {"user_id": user.user_id, "roles": ["ROLE_PORTAL_USER"]}
    assert admin.data("DELETE", path) == revoked
    assert user.error("GET", "/roles") == (403, "permission_missing")
    administration.grant(user.user_id or 0, "ROLE_READER")
    admin.data("PATCH", "/roles/ROLE_READER", json={"permissions": []})
    assert user.error("GET", "/roles") == (403, "permission_missing")


def test_ro1_the_missing_permission_is_named(administration: Administration) -> None:
    answer = administration.user(ADA).call("POST", "/roles", json=EDITOR)

    assert answer.status_code == 403
    error = answer.get_json()["error"]
    assert (error["code"], error["permission"]) == ("permission_missing", "roles:write")


def test_ro1_users_check_their_own_permissions_and_readers_those_of_others(
    admin: AdminClient, administration: Administration
) -> None:
    user = administration.with_permissions(ADA, "films:edit")
    own = f"/roles/check_permissions?user_id={user.user_id}"

    assert user.data("GET", own) == {"user_id": user.user_id, "roles": ["ROLE_OF_ADA", "ROLE_PORTAL_USER"]}
    assert user.data("GET", f"{own}&permission=films:edit")["allowed"] is True
    assert user.data("GET", f"{own}&permission=films:delete")["allowed"] is False
    other = f"/roles/check_permissions?user_id={admin.user_id}"
    assert user.error("GET", other) == (403, "permission_missing")
    assert admin.data("GET", f"{own}&permission=films:edit")["allowed"] is True
    assert admin.data("GET", f"{other}&permission=anything:new")["allowed"] is True
    assert admin.error("GET", "/roles/check_permissions?user_id=5") == (404, "user_unknown")
    assert admin.error("GET", "/roles/check_permissions?user_id=x") == (422, "validation_failed")
    assert admin.error("GET", f"{own}&user_id=5") == (422, "validation_failed")


def test_ro7_checks_of_the_own_permissions_are_as_unlimited_as_reading_the_own_account(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app(limit_admin_reads="2/1m")
    administration = Administration(app, Mailbox(app, DevInbox(tmp_path / "inbox")))
    admin, user = administration.administrator(), administration.user(ADA)
    own = f"/roles/check_permissions?user_id={user.user_id}"

    assert [user.call("GET", own).status_code for _ in range(4)] == [200] * 4
    assert [admin.call("GET", own).status_code for _ in range(3)] == [200, 200, 429]


def test_ro1_permissions_are_listed_built_in_and_defined_by_the_portal(
    admin: AdminClient, administration: Administration
) -> None:
    administration.role("ROLE_EDITOR", "films:edit", "roles:read")
    listed = {one["name"]: one for one in admin.data("GET", "/permissions")}

    assert listed.keys() == {*(permission.value for permission in Permission), "films:edit"}
    assert listed["films:edit"] == {"name": "films:edit", "description": None, "system": False}
    assert listed["users:ban"] == {"name": "users:ban", "description": Permission.USERS_BAN.description, "system": True}
    assert "films:edit" in admin.data("GET", "/users/me")["permissions"]
    admin.data("DELETE", "/roles/ROLE_EDITOR")
    assert "films:edit" not in admin.data("GET", "/users/me")["permissions"]


def test_az5_ro3_a_caller_grants_and_changes_only_what_the_caller_has(
    admin: AdminClient, administration: Administration
) -> None:
    granter = administration.with_permissions("granter@example.org", "roles:grant", "roles:write", "films:edit")
    administration.role("ROLE_EDITOR", "films:edit")
    administration.role("ROLE_BANNER", "users:ban")
    user = administration.user(ADA)

    def path(name: str) -> str:
        return f"/users/{user.user_id}/roles/{name}"

    assert granter.call("PUT", path("ROLE_EDITOR")).status_code == 200
    for name in ("ROLE_BANNER", "ROLE_PORTAL_ADMIN"):
        assert granter.error("PUT", path(name)) == (403, "beyond_your_own")
        assert granter.error("PUT", f"/users/{granter.user_id}/roles/{name}") == (403, "beyond_your_own")
    admin.data("PUT", path("ROLE_BANNER"))
    assert granter.error("DELETE", path("ROLE_BANNER")) == (403, "beyond_your_own")
    for role in ("ROLE_OF_GRANTER", "ROLE_EDITOR"):
        body = {"permissions": ["films:edit", "users:ban"]}
        assert granter.error("PATCH", f"/roles/{role}", json=body) == (403, "beyond_your_own")
    assert granter.error("PATCH", "/roles/ROLE_BANNER", json={"permissions": []}) == (403, "beyond_your_own")
    assert granter.error("DELETE", "/roles/ROLE_BANNER") == (403, "beyond_your_own")
    new = {"name": "ROLE_NEW", "permissions": ["films:burn"]}
    assert granter.error("POST", "/roles", json=new) == (403, "beyond_your_own")


def test_ro3_a_service_key_never_creates_or_removes_an_administrator(
    admin: AdminClient, administration: Administration
) -> None:
    service = administration.service(*(permission.value for permission in Permission))
    user = administration.user(ADA)

    assert service.error("PUT", f"/users/{user.user_id}/roles/ROLE_PORTAL_ADMIN") == (403, "beyond_your_own")
    assert service.error("DELETE", f"/users/{admin.user_id}/roles/ROLE_PORTAL_ADMIN") == (403, "beyond_your_own")


def test_ro1_a_service_key_needs_the_permission_as_a_scope(administration: Administration, app: Flask) -> None:
    reader = administration.service("roles:read", name="reader")
    key = reader.headers["Authorization"].removeprefix("Bearer ")

    assert reader.call("GET", "/roles").status_code == 200
    assert reader.error("POST", "/roles", json=EDITOR) == (403, "permission_missing")
    by_token = AdminClient(app, {"X-TOKEN": key})
    assert by_token.call("GET", "/roles").status_code == 200
    other = administration.service("roles:read", name="other").headers["Authorization"]
    twice = AdminClient(app, {"X-TOKEN": key, "Authorization": other})
    assert twice.error("GET", "/roles") == (401, "service_key_invalid")
    same = AdminClient(app, {"X-TOKEN": key, "Authorization": f"Bearer {key}"})
    assert same.call("GET", "/roles").status_code == 200


def test_r4_a_temporary_user_receives_no_role(admin: AdminClient, administration: Administration, api: Any) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    temporary = api.sign_up(ADA)

    assert admin.error("PUT", f"/users/{temporary}/roles/ROLE_EDITOR") == (409, "mail_not_confirmed")


def test_r2_the_last_administrator_cannot_be_revoked(admin: AdminClient, administration: Administration) -> None:
    path = f"/users/{admin.user_id}/roles/ROLE_PORTAL_ADMIN"
    assert admin.error("DELETE", path) == (409, "last_administrator")

    other = administration.administrator("other@example.org")

    assert other.call("DELETE", path).status_code == 200
    assert admin.error("GET", "/roles") == (403, "permission_missing")


def test_ro6_grants_and_revocations_are_recorded_and_notified(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, query: Query
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    user = administration.user(ADA)
    mailbox.deliver()
    path = f"/users/{user.user_id}/roles/ROLE_EDITOR"
    for _ in range(2):
        admin.data("PUT", path)
    for _ in range(2):
        admin.data("DELETE", path)

    events = query(
        "SELECT kind, actor_type, actor_id, details ->> 'role' FROM events WHERE kind LIKE 'role.%%' AND user_id = %s"
        " ORDER BY id",
        user.user_id,
    )
    admin_id = str(admin.user_id)
    assert [tuple(event) for event in events] == [
        ("role.granted", "user", admin_id, "ROLE_EDITOR"),
        ("role.withdrawn", "user", admin_id, "ROLE_EDITOR"),
    ]
    subjects = [message.subject for message in mailbox.letters_to(ADA) if "role" in message.subject]
    assert len(subjects) == 2, "one email for each change, none for a repeated request"


def test_r4_every_administrator_is_notified_of_a_new_one(
    admin: AdminClient, administration: Administration, mailbox: Mailbox
) -> None:
    user = administration.user(ADA)
    admin.data("PUT", f"/users/{user.user_id}/roles/ROLE_PORTAL_ADMIN")

    for address in (ADA, "admin@example.org"):
        assert any("administrators" in message.subject for message in mailbox.letters_to(address)), address


def test_au6_the_events_of_a_deleted_administrator_keep_the_number_and_lose_address_and_device(
    admin: AdminClient, administration: Administration, query: Query
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    user = administration.user(ADA)
    administration.administrator("other@example.org")
    admin.data("PUT", f"/users/{user.user_id}/roles/ROLE_EDITOR")

    assert admin.call("DELETE", "/users/me", json={"password": PASSWORD}).status_code == 200

    rows = query("SELECT user_id, actor_id, address, device FROM events WHERE actor_type = 'user'")
    assert rows == [(user.user_id, str(admin.user_id), None, "")]
