"""Access matrix: every endpoint that needs a permission, against every kind of caller; generated from the contracts."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from auth_service.models.permission import Permission
from tests.support.actors import ADA
from tests.support.administration import AdminClient, Administration
from tests.support.contracts import contracts

ARGUMENTS = {
    "user_id": "4711",
    "name": "ROLE_UNKNOWN",
    "invitation_id": "00000000-0000-4000-8000-000000000000",
    "session_id": "00000000-0000-4000-8000-000000000000",
    "message_id": "00000000-0000-4000-8000-000000000000",
}


def guarded(app: Flask) -> Iterator[tuple[str, str, Permission]]:
    """Method, path and permission of every endpoint that needs one."""
    for method, rule, contract in contracts(app):
        if contract is not None and contract.access.permission is not None:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: ARGUMENTS[match[1]], rule)
            yield method, path.removeprefix("/api/v1"), contract.access.permission


def outcome(client: AdminClient, method: str, path: str) -> str:
    """`allowed` if the access rule let the request pass, otherwise the error code of the rule."""
    answer = client.call(method, path)
    code: str = (answer.get_json().get("error") or {}).get("code", "")
    denied = answer.status_code == 401 or code in ("permission_missing", "scope_missing")
    return code if denied else "allowed"


@pytest.mark.slow
def test_az1_each_endpoint_lets_only_callers_with_its_permission_pass(
    app: Flask, administration: Administration
) -> None:
    every: set[Any] = {permission for _, _, permission in guarded(app)}
    assert every >= {Permission.ROLES_READ, Permission.ROLES_WRITE, Permission.ROLES_GRANT}
    unrelated = administration.with_permissions(ADA, "films:edit")
    callers = {
        "anonymous": AdminClient(app, {}),
        "without a permission": administration.user("grace@example.org"),
        "unrelated permission": unrelated,
        "administrator": administration.administrator(),
        "unrelated service": administration.service("films:edit", "tokens:introspect", name="unrelated"),
        "invalid key": AdminClient(app, {"X-TOKEN": "svc_000000000000_" + "a" * 43}),
    }
    for permission in every:
        verb = permission.value.replace(":", "-")
        callers[f"user {permission}"] = administration.with_permissions(
            f"{verb.replace('-', '.')}@example.org", permission
        )
        callers[f"service {permission}"] = administration.service(permission, name=verb)

    wrong = []
    for method, path, permission in guarded(app):
        expected = {
            "anonymous": "token_missing",
            "invalid key": "service_key_invalid",
            "administrator": "allowed",
            f"user {permission}": "allowed",
            f"service {permission}": "allowed",
        }
        for name, client in callers.items():
            actual = outcome(client, method, path)
            if name == "unrelated permission" and "check_permissions" in path:
                continue  # every user may ask about the own id; without an id the rule decides
            if actual != expected.get(name, "permission_missing"):
                wrong.append((method, path, name, actual))
    assert not wrong


def test_lv2_every_write_with_a_permission_needs_a_recent_authentication(
    app: Flask, administration: Administration
) -> None:
    admin = administration.administrator()
    administration.age_session(admin.user_id or 0, 601)

    for method, path, _ in guarded(app):
        expected = "allowed" if method == "GET" else "insufficient_user_authentication"
        assert outcome(admin, method, path) == expected, (method, path)
