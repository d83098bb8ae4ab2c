"""Denied requests in the audit log: who was denied what, and the daily cap of a service."""

from typing import Any

from tests.support.actors import Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.audit_search import found, party
from tests.support.stores import Query


def test_lg2_a_denied_request_of_a_service_is_recorded(admin: AdminClient, administration: Administration) -> None:
    service = administration.service("films:edit", name="shop")
    assert service.error("GET", "/roles/ROLE_EDITOR") == (403, "permission_missing")
    assert service.error("POST", "/tokens/introspect", json={"token": "x"}) == (403, "scope_missing")

    scope, permission = found(admin, action="access_denied")

    assert permission["actor"] == scope["actor"]
    assert permission["actor"]["type"] == "service"
    assert permission["target"] == party("endpoint", "GET /api/v1/roles/{name}")
    assert (permission["outcome"], permission["reason"]) == ("failure", "permission_missing")
    assert permission["request_id"]
    assert (scope["target"], scope["reason"]) == (
        party("endpoint", "POST /api/v1/tokens/introspect"),
        "scope_missing",
    )
    assert len(found(admin, actor=f"service:{scope['actor']['id']}")) == 2
    assert len(found(admin, target="endpoint:GET /api/v1/roles/{name}")) == 1


def test_lg2_a_write_without_a_recent_authentication_is_recorded(
    admin: AdminClient, administration: Administration
) -> None:
    administration.age_session(admin.user_id or 0, 601)
    assert admin.error("POST", "/roles", json={"name": "ROLE_X"}) == (401, "insufficient_user_authentication")

    [event] = found(admin, action="access_denied")

    assert (event["actor"], event["reason"]) == (party("user", admin.user_id), "insufficient_user_authentication")
    assert event["target"] == party("endpoint", "POST /api/v1/roles")


def test_lg2_forward_auth_of_an_old_authentication_is_no_event(
    admin: AdminClient, administration: Administration
) -> None:
    """A portal asks its gateway for each request: these events would use up the daily cap of the user."""
    administration.age_session(admin.user_id or 0, 601)
    headers = {"X-Require-Max-Age": "600"}
    assert admin.error("GET", "/sessions/verify", headers=headers) == (401, "insufficient_user_authentication")

    assert found(admin, action="access_denied") == []


def test_lg2_an_attempt_beyond_the_own_permissions_is_recorded(
    admin: AdminClient, administration: Administration, ada: int
) -> None:
    helper = administration.with_permissions("helper@example.org", "roles:grant")
    assert helper.error("PUT", f"/users/{ada}/roles/ROLE_PORTAL_ADMIN") == (403, "beyond_your_own")

    [event] = found(admin, action="access_denied")

    assert (event["actor"], event["reason"]) == (party("user", helper.user_id), "beyond_your_own")
    assert event["target"] == party("endpoint", "PUT /api/v1/users/{user_id}/roles/{name}")


def test_lg2_denied_requests_of_a_service_cannot_flood_the_audit_log(
    administration: Administration, query: Query, make_app: Any, mailbox: Mailbox
) -> None:
    capped = Administration(make_app(history_failures_a_day=3), mailbox)
    for name in ("shop", "catalogue"):
        service = capped.service("films:edit", name=name)
        for _ in range(5):
            assert service.error("GET", "/roles") == (403, "permission_missing")

    events = query("SELECT actor_id, count(*) FROM events WHERE kind = 'access_denied' GROUP BY 1")
    assert [count for _, count in events] == [3, 3]
