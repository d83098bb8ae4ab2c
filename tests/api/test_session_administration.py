"""Session administration: list and revoke the sessions of another user."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration

Query = Callable[..., list[Any]]
GRACE = "grace@example.org"


@pytest.fixture
def support(administration: Administration) -> AdminClient:
    """A user who may read users and revoke their sessions."""
    return administration.with_permissions("support@example.org", "users:read", "users:write")


@pytest.fixture
def ada(api: ApiClient, mailbox: Mailbox) -> int:
    return api.register(ADA, mailbox, password=PASSWORD)


def test_an_administrator_sees_the_sessions_of_a_user_as_the_user_does(
    support: AdminClient, ada: int, api: ApiClient, administration: Administration
) -> None:
    tokens = [api.signed_in(ADA, PASSWORD)["access_token"] for _ in range(3)]
    own = api.with_token(tokens[0], "GET", "/me/sessions").get_json()["data"]

    for client in (support, administration.service("users:read")):
        listed = client.data("GET", f"/admin/users/{ada}/sessions")
        assert listed == [{**session, "current": False} for session in own]

    first = support.call("GET", f"/admin/users/{ada}/sessions?limit=2").get_json()
    rest = support.data("GET", f"/admin/users/{ada}/sessions?limit=2&cursor={first['next_cursor']}")
    assert [session["id"] for session in (*first["data"], *rest)] == [session["id"] for session in own]


def test_ad1_a_cursor_of_the_sessions_of_another_user_or_caller_is_refused(
    support: AdminClient, ada: int, api: ApiClient, mailbox: Mailbox, administration: Administration
) -> None:
    grace = api.register(GRACE, mailbox, password=PASSWORD)
    tokens = [api.signed_in(email, PASSWORD)["access_token"] for email in (ADA, ADA, GRACE, GRACE)]
    cursor = support.call("GET", f"/admin/users/{ada}/sessions?limit=1").get_json()["next_cursor"]

    page = f"/sessions?limit=1&cursor={cursor}"
    assert support.error("GET", f"/admin/users/{grace}{page}") == (422, "validation_failed")
    service = administration.service("users:read")
    assert service.error("GET", f"/admin/users/{ada}{page}") == (422, "validation_failed")
    assert api.with_token(tokens[0], "GET", f"/me{page}").status_code == 422


def test_an_administrator_revokes_one_session_of_a_user(
    support: AdminClient, ada: int, api: ApiClient, query: Query
) -> None:
    kept, ended = (api.signed_in(ADA, PASSWORD)["access_token"] for _ in range(2))
    [newest, _] = support.data("GET", f"/admin/users/{ada}/sessions")

    support.data("DELETE", f"/admin/users/{ada}/sessions/{newest['id']}")

    assert (api.is_signed_in(kept), api.is_signed_in(ended)) == (True, False)
    events = query("SELECT user_id, session_id, actor_type, actor_id, details FROM events WHERE kind = 'session_ended'")
    reason = {"reason": "revoked_by_administrator"}
    assert events == [(ada, newest["id"], "user", str(support.user_id), reason)]
    assert support.error("DELETE", f"/admin/users/{ada}/sessions/{newest['id']}") == (404, "session_unknown")


def test_an_administrator_revokes_all_sessions_of_a_user(
    support: AdminClient, ada: int, api: ApiClient, administration: Administration, query: Query
) -> None:
    tokens = [api.signed_in(ADA, PASSWORD)["access_token"] for _ in range(2)]
    for _ in range(2):
        support.data("DELETE", f"/admin/users/{ada}/sessions")
    assert not any(api.is_signed_in(token) for token in tokens)
    assert support.data("GET", f"/admin/users/{ada}/sessions") == []

    token = api.signed_in(ADA, PASSWORD)["access_token"]
    administration.service("users:write").data("DELETE", f"/admin/users/{ada}/sessions")
    assert not api.is_signed_in(token)
    actors = query("SELECT actor_type, count(*) FROM events WHERE kind = 'session_ended' GROUP BY 1 ORDER BY 1")
    assert actors == [("service", 1), ("user", 2)]


def test_an_administrator_who_revokes_the_own_sessions_keeps_the_current_one(
    support: AdminClient, api: ApiClient
) -> None:
    other = api.signed_in("support@example.org", PASSWORD)["access_token"]
    listed = support.data("GET", f"/admin/users/{support.user_id}/sessions")
    assert [session["current"] for session in listed] == [False, True]

    support.data("DELETE", f"/admin/users/{support.user_id}/sessions")

    assert not api.is_signed_in(other)
    assert len(support.data("GET", f"/admin/users/{support.user_id}/sessions")) == 1


def test_az2_a_session_is_revoked_under_its_own_user_only(
    support: AdminClient, ada: int, api: ApiClient, mailbox: Mailbox
) -> None:
    grace = api.register(GRACE, mailbox, password=PASSWORD)
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    [session] = support.data("GET", f"/admin/users/{ada}/sessions")

    assert support.error("DELETE", f"/admin/users/{grace}/sessions/{session['id']}") == (404, "session_unknown")
    assert api.is_signed_in(token)


def test_sessions_of_an_unknown_user_are_an_error_and_not_an_empty_list(support: AdminClient) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("DELETE", f"/{uuid.uuid4()}")):
        assert support.error(method, f"/admin/users/4711/sessions{path}") == (404, "user_unknown")
