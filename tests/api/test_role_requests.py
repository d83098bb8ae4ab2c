"""Requests about roles, each sent twice by an administrator, a user and a service with one permission, and others."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA
from tests.support.administration import AdminClient, Administration
from tests.support.contracts import contracts

pytestmark = pytest.mark.slow

Query = Callable[..., list[Any]]
Outcome = tuple[int, str]
OK, CREATED, TAKEN, GONE = (200, ""), (201, ""), (409, "role_taken"), (404, "role_unknown")


@dataclass(frozen=True)
class Repeated:
    """A request about `{role}` and the user `{user}`, and what the first and the second one answer."""

    method: str
    path: str
    permission: str
    body: dict[str, str] | None = None
    outcomes: tuple[Outcome, Outcome] = (OK, OK)
    starts_with: str = "role"
    """What exists before the first request: the `role`, the `grant` of the role to the user, or `nothing`."""
    base: str = "/api/v1"

    @property
    def services_only(self) -> bool:
        """Whether the access tokens of users are no credentials for it."""
        return self.base == "/api/srv"

    def send(self, client: AdminClient, values: dict[str, Any]) -> tuple[Outcome, bytes]:
        """Send the request; return its outcome and body."""
        body = self.body and {name: value.format(**values) for name, value in self.body.items()}
        answer = client.call(self.method, self.path.format(**values), json=body)
        code: str = (answer.get_json().get("error") or {}).get("code", "")
        return (answer.status_code, code), answer.get_data()


NAMES = {"user_id": "{user}", "role_id": "{role}"}
QUERY = "?user_id={user}&role_id={role}"
SRV = "/api/srv"
REQUESTS = [
    Repeated("GET", "/roles", "roles:read"),
    Repeated("POST", "/roles", "roles:write", {"name": "{role}"}, (CREATED, TAKEN), "nothing"),
    Repeated("GET", "/roles/{role}", "roles:read"),
    Repeated("PATCH", "/roles/{role}", "roles:write", {"description": "Reads films."}),
    Repeated("DELETE", "/roles/{role}", "roles:write", None, (OK, GONE)),
    Repeated("GET", "/users/{user}/roles", "roles:read", starts_with="grant"),
    Repeated("PUT", "/users/{user}/roles/{role}", "roles:grant"),
    Repeated("DELETE", "/users/{user}/roles/{role}", "roles:grant", starts_with="grant"),
    Repeated("GET", "/roles/check_permissions?user_id={user}&permission=films:edit", "roles:read"),
    Repeated("GET", "/roles/check_permissions/?user_id={user}", "roles:read", starts_with="grant"),
    Repeated("GET", "/permissions", "roles:read"),
    Repeated("POST", "/roles", "roles:grant", NAMES),
    Repeated("DELETE", f"/roles{QUERY}", "roles:grant", starts_with="grant"),
    Repeated("GET", "/roles", "roles:read", base=SRV),
    Repeated("POST", "/roles", "roles:grant", NAMES, base=SRV),
    Repeated("DELETE", f"/roles{QUERY}", "roles:grant", starts_with="grant", base=SRV),
    Repeated("GET", "/roles/check_permissions?user_id={user}", "roles:read", base=SRV),
    Repeated("GET", "/roles/check_permissions/?user_id={user}", "roles:read", base=SRV),
    Repeated("POST", "/roles/create_role", "roles:write", {"role_name": "{role}"}, (CREATED, TAKEN), "nothing", SRV),
    Repeated("DELETE", "/roles/{role}/delete_role", "roles:write", None, (OK, GONE), base=SRV),
    Repeated("GET", "/users?user_id={user}", "users:read", base=SRV),
]


def test_ro1_every_request_about_roles_is_in_the_table(app: Flask) -> None:
    served = set()
    for method, rule, contract in contracts(app):
        permission = contract.access.permission if contract else None
        if (permission or "").startswith("roles:") or rule.startswith(f"{SRV}/"):
            path = rule.replace("<user_id:user_id>", "{user}").replace("<role_name:name>", "{role}")
            served.add((method, path))

    assert {(each.method, f"{each.base}{each.path.partition('?')[0]}") for each in REQUESTS} == served


@pytest.fixture
def callers(app: Flask, administration: Administration) -> dict[str, AdminClient]:
    """One client of each kind; those with one permission have its name."""
    clients = {
        "ADMINISTRATOR": administration.administrator(),
        "UNRELATED_USER": administration.with_permissions(ADA, "films:edit"),
        "UNRELATED_SERVICE": administration.service("films:edit", "tokens:introspect", name="unrelated"),
        "ANONYMOUS": AdminClient(app, {}),
    }
    for permission in {request.permission for request in REQUESTS}:
        address = f"{permission.replace(':', '.')}@example.org"
        clients[f"USER {permission}"] = administration.with_permissions(address, permission)
        clients[f"SERVICE {permission}"] = administration.service(permission, name=permission.replace(":", "-"))
    return clients


def expected_outcomes(request: Repeated, caller: str) -> tuple[Outcome, Outcome]:
    """What the two requests of this caller answer."""
    kind, _, permission = caller.partition(" ")
    missing = 403, "scope_missing" if request.services_only else "permission_missing"
    if kind == "ANONYMOUS":
        denied = 401, "service_key_missing" if request.services_only else "token_missing"
    elif request.services_only and kind in ("ADMINISTRATOR", "UNRELATED_USER", "USER"):
        denied = 401, "service_key_invalid"
    elif kind == "ADMINISTRATOR" or permission == request.permission:
        return request.outcomes
    else:
        denied = missing
    return denied, denied


def test_ro1_a_repeated_request_changes_nothing_more_and_other_callers_are_denied(
    callers: dict[str, AdminClient],
    app: Flask,
    administration: Administration,
    query: Query,
    subtests: pytest.Subtests,
) -> None:
    user = administration.user("grace@example.org").user_id or 0
    for request, (name, client) in itertools.product(REQUESTS, callers.items()):
        with subtests.test(f"{request.method} {request.base}{request.path} {name}"):
            query("DELETE FROM user_roles WHERE role = 'ROLE_FILMS'")
            query("DELETE FROM roles WHERE name = 'ROLE_FILMS'")
            if request.starts_with != "nothing":
                administration.role("ROLE_FILMS")
            if request.starts_with == "grant":
                administration.grant(user, "ROLE_FILMS")
            query("DELETE FROM events")
            caller = AdminClient(app, client.headers, base=request.base)

            answers = [request.send(caller, {"user": user, "role": "ROLE_FILMS"}) for _ in range(2)]

            expected = expected_outcomes(request, name)
            assert tuple(outcome for outcome, _ in answers) == expected
            assert (answers[0] == answers[1]) == (expected[0] == expected[1]), "equal outcomes have equal bodies"
            changes = query("SELECT count(*) FROM events WHERE kind <> 'access_denied'")
            is_change = request.method != "GET" and expected[0][0] < 400
            assert changes == [(1 if is_change else 0,)], "the second request changes nothing"


def test_ro1_an_unrelated_user_checks_the_own_permissions_twice(administration: Administration) -> None:
    unrelated = administration.with_permissions(ADA, "films:edit")
    path = f"/roles/check_permissions?user_id={unrelated.user_id}&permission=films:edit"

    expected = {"user_id": unrelated.user_id, "roles": ["ROLE_OF_ADA", "ROLE_PORTAL_USER"], "allowed": True}
    assert [unrelated.data("GET", path) for _ in range(2)] == [expected] * 2
