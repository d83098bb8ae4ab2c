"""User search of administrators: list, filters, stable pages, sealed cursors, count, one user."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration

Query = Callable[..., list[Any]]
GRACE, ALAN = "grace@example.org", "alan@example.org"


@pytest.fixture
def support(administration: Administration) -> AdminClient:
    """A user who may read users, and nothing else."""
    return administration.with_permissions("support@example.org", "users:read")


@pytest.fixture
def ada(api: ApiClient, mailbox: Mailbox) -> int:
    return api.register(ADA, mailbox, password=PASSWORD)


def add_users(query: Query, *emails: str, age: int = 3600) -> None:
    """Add confirmed users, each a second newer than the one before, all older than this test."""
    for number, email in enumerate(emails):
        query(
            "INSERT INTO users (id, email, email_key, verified_mail, verified_at, language, created_at)"
            " VALUES (%s, %s, %s, true, now(), 'en', now() - make_interval(secs => %s))",
            1000 + number,
            email,
            email.casefold(),
            age - number,
        )


def ban(query: Query, user_id: int, until: str = "infinity") -> None:
    query(
        "UPDATE users SET banned_until = CAST(%s AS timestamptz), banned_at = now(), ban_reason = 'spam' WHERE id = %s",
        until,
        user_id,
    )


def emails(client: AdminClient, query_string: str = "") -> list[str]:
    return [user["email"] for user in client.data("GET", f"/admin/users{query_string}")]


def every_page(client: AdminClient, filters: str = "", *, limit: int = 2) -> list[str]:
    """The addresses of all pages."""
    found, cursor = [], ""
    while True:
        body = client.call("GET", f"/admin/users?limit={limit}{filters}{cursor}").get_json()
        found += [user["email"] for user in body["data"]]
        assert len(body["data"]) <= limit
        if body["next_cursor"] is None:
            return found
        cursor = f"&cursor={body['next_cursor']}"


def test_ad1_the_list_shows_the_newest_users_first(support: AdminClient, query: Query, ada: int) -> None:
    add_users(query, "old@example.org", "older.brother@example.org")

    listed = support.data("GET", "/admin/users")

    assert [user["email"] for user in listed] == [
        ADA,
        "support@example.org",
        "older.brother@example.org",
        "old@example.org",
    ]
    assert listed[0].keys() == {"id", "email", "status", "roles", "created_at"}
    assert (listed[0]["id"], listed[0]["status"], listed[0]["roles"]) == (ada, "active", ["ROLE_PORTAL_USER"])
    assert listed[-1]["roles"] == []


def test_ad1_pages_are_bounded_and_complete(support: AdminClient, query: Query) -> None:
    add_users(query, *(f"u{number}@example.org" for number in range(60)))

    assert len(emails(support, "?limit=50")) == 50
    assert support.error("GET", "/admin/users?limit=51") == (422, "validation_failed")
    assert sorted(every_page(support, limit=7)) == sorted(
        ["support@example.org", *(f"u{number}@example.org" for number in range(60))]
    )


def test_ad1_pages_are_stable_while_users_are_added_and_deleted(
    support: AdminClient, query: Query, api: ApiClient
) -> None:
    names = [f"u{number}@example.org" for number in range(9)]
    add_users(query, *names)
    seen, cursor = [], ""
    for number in range(5):
        body = support.call("GET", f"/admin/users?query=u&limit=2{cursor}".replace("query=u&", "")).get_json()
        seen += [user["email"] for user in body["data"]]
        if body["next_cursor"] is None:
            break
        cursor = f"&cursor={body['next_cursor']}"
        api.sign_up(f"new{number}@example.org")
        # Also the user at which the next page begins.
        query("DELETE FROM users WHERE email = %s", seen[-1])

    assert [email for email in seen if email in names] == sorted(names, reverse=True)
    assert len(seen) == len(set(seen))
    assert not any(email.startswith("new") for email in seen)


def test_ad1_users_of_the_same_instant_are_each_on_one_page(support: AdminClient, query: Query) -> None:
    add_users(query, *(f"u{number}@example.org" for number in range(7)))
    query("UPDATE users SET created_at = '2020-01-01Z' WHERE email LIKE 'u%@example.org' AND id >= 1000")

    found = every_page(support)

    assert len(found) == len(set(found)) == 8


def test_ad1_an_address_is_found_in_every_spelling_and_only_exactly(support: AdminClient, ada: int) -> None:
    assert [user["id"] for user in support.data("GET", "/admin/users?email=%20ADA@Example.ORG")] == [ada]
    assert emails(support, "?email=da@example.org") == []
    assert support.error("GET", "/admin/users?email=ada") == (422, "validation_failed")


def test_ad1_a_query_is_the_beginning_of_an_address(support: AdminClient, query: Query) -> None:
    add_users(query, "alan@example.org", "alan.t@example.org", "balan@example.org")

    assert emails(support, "?query=ALAN") == ["alan.t@example.org", "alan@example.org"]
    assert emails(support, "?query=alan@") == ["alan@example.org"]
    assert support.error("GET", "/admin/users?query=al") == (422, "validation_failed")
    assert support.error("GET", "/admin/users?query=al%E2%80%8B") == (422, "validation_failed")
    assert emails(support, "?query=alan&email=alan@example.org") == ["alan@example.org"]


@pytest.mark.parametrize("wildcards", ["al%25", "al_n", "___", "%25%25%25", "al\\\\", "al\\%25"])
def test_ad1_wildcards_in_a_query_are_literal(support: AdminClient, query: Query, wildcards: str) -> None:
    add_users(query, "alan@example.org")

    assert emails(support, f"?query={wildcards}") == []


def test_ad1_an_address_with_literal_wildcards_is_found(support: AdminClient, query: Query) -> None:
    add_users(query, "al_n@example.org", "alan@example.org", "50%off@example.org")

    assert emails(support, "?query=al_") == ["al_n@example.org"]
    assert emails(support, "?query=50%25o") == ["50%off@example.org"]


def test_ad1_the_status_is_computed_by_the_clock_of_the_database(
    support: AdminClient, query: Query, ada: int, api: ApiClient
) -> None:
    temporary = api.sign_up(GRACE)
    add_users(query, ALAN, "once@example.org")
    ban(query, 1000)
    ban(query, 1001, "2020-01-01Z")

    by_status = {
        status: emails(support, f"?status={status}") for status in ("active", "temporary", "banned", "leaving")
    }
    assert by_status == {
        "active": [ADA, "support@example.org", "once@example.org"],
        "temporary": [GRACE],
        "banned": [ALAN],
        "leaving": [],  # until accounts have a deletion grace period
    }
    statuses = {user["email"]: user["status"] for user in support.data("GET", "/admin/users")}
    assert statuses == {email: status for status, found in by_status.items() for email in found}

    ban(query, temporary, "2100-01-01Z")
    assert emails(support, "?status=temporary") == []
    assert emails(support, "?status=banned") == [GRACE, ALAN]
    assert support.error("GET", "/admin/users?status=idle") == (422, "validation_failed")


def test_ad1_filters_by_role_and_combines_with_the_others(
    support: AdminClient, administration: Administration, query: Query, api: ApiClient
) -> None:
    editor = administration.with_permissions(ADA, "films:edit")
    add_users(query, ALAN)
    api.sign_up(GRACE)

    assert emails(support, "?role=ROLE_OF_ADA") == [ADA]
    assert emails(support, "?role=ROLE_OF_ADA&status=active&query=ada") == [ADA]
    assert emails(support, "?role=ROLE_OF_ADA&status=temporary") == []
    assert emails(support, "?role=ROLE_TEMPORARY_USER") == [GRACE]
    assert emails(support, "?role=ROLE_TEMPORARY_USER&status=temporary") == [GRACE]
    assert emails(support, "?role=ROLE_TEMPORARY_USER&status=active") == []
    assert emails(support, "?role=ROLE_UNKNOWN") == []
    assert every_page(support, "&role=ROLE_PORTAL_USER", limit=1) == [ADA, "support@example.org"]
    ban(query, editor.user_id or 0)
    assert emails(support, "?role=ROLE_OF_ADA&status=active") == []
    assert emails(support, "?role=ROLE_OF_ADA&status=banned") == [ADA]


def test_ad1_a_provider_finds_nobody_until_the_service_has_identity_providers(support: AdminClient, ada: int) -> None:
    assert emails(support, "?provider=google") == []
    assert support.data("GET", "/admin/users/count?provider=google") == {"count": 0, "complete": True}
    assert support.error("GET", "/admin/users?provider=Not%20a%20name") == (422, "validation_failed")


def test_ad1_a_cursor_of_another_caller_or_of_other_filters_is_refused(
    support: AdminClient, administration: Administration, query: Query
) -> None:
    add_users(query, *(f"alan{number}@example.org" for number in range(5)))
    service = administration.service("users:read")
    page = "/admin/users?query=alan&limit=2"
    cursor = support.call("GET", page).get_json()["next_cursor"]

    assert len(support.data("GET", f"{page}&cursor={cursor}")) == 2
    assert len(support.data("GET", f"/admin/users?limit=1&query=ALAN&cursor={cursor}")) == 1
    of_roles = administration.service("roles:read", name="roles").call("GET", "/roles?limit=1").get_json()
    for client, path in (
        (service, page),
        (support, "/admin/users?limit=2"),
        (support, "/admin/users?query=alan1&limit=2"),
        (support, f"{page}&status=active"),
        (support, f"{page}&role=ROLE_PORTAL_USER"),
        (support, f"{page}&email=alan1@example.org"),
        (support, f"{page}&provider=google"),
    ):
        answer = client.call("GET", f"{path}&cursor={cursor}")
        assert answer.status_code == 422, path
        assert answer.get_json()["error"]["fields"][0]["reason"] == "cursor_invalid"
    for other in (of_roles["next_cursor"], cursor[:-2] + "AA", "x"):
        assert support.error("GET", f"{page}&cursor={other}") == (422, "validation_failed")


def test_ad1_the_count_has_the_filters_of_the_list(support: AdminClient, query: Query, ada: int) -> None:
    add_users(query, ALAN, "alan.t@example.org")
    ban(query, 1000)

    for filters, expected in (("", 4), ("?query=alan", 2), ("?status=banned", 1), ("?role=ROLE_PORTAL_USER", 2)):
        counted = support.data("GET", f"/admin/users/count{filters}")
        assert counted == {"count": expected, "complete": True}, filters
    assert support.data("GET", "/admin/users/count?status=leaving") == {"count": 0, "complete": True}
    assert support.error("GET", "/admin/users/count?limit=1") == (422, "validation_failed")


def test_ad1_a_user_is_shown_with_status_sessions_and_ban(
    support: AdminClient, ada: int, api: ApiClient, query: Query
) -> None:
    before = support.data("GET", f"/admin/users/{ada}")
    assert before["last_seen_at"] is None
    tokens = api.signed_in(ADA, PASSWORD)
    api.signed_in(ADA, PASSWORD)
    api.refresh(tokens["refresh_token"])
    ban(query, ada)

    user = support.data("GET", f"/admin/users/{ada}")

    [(created_at, banned_at, refreshed_at)] = query(
        "SELECT u.created_at, banned_at, max(refreshed_at) FROM users u JOIN sessions ON user_id = u.id"
        " WHERE u.id = %s GROUP BY u.id",
        ada,
    )
    rendered = [instant.isoformat().replace("+00:00", "Z") for instant in (created_at, refreshed_at, banned_at)]
    assert user == {
        "id": ada,
        "email": ADA,
        "verified_mail": True,
        "status": "banned",
        "roles": ["ROLE_PORTAL_USER"],
        "language": "en",
        "created_at": rendered[0],
        "last_seen_at": rendered[1],
        "password_set": True,
        "sessions": 2,
        "ban": {"until": None, "reason": "spam", "at": rendered[2]},
        # Until the service has second factors, identity providers and a deletion grace period.
        "second_factor": {"totp": False, "passkeys": 0, "recovery_codes_left": 0},
        "identities": [],
        "deletion_due_at": None,
    }
    ban(query, ada, "2100-01-01T00:00:00Z")
    assert support.data("GET", f"/admin/users/{ada}")["ban"]["until"].startswith("2100-01-01T00:00:00")
    ban(query, ada, "2020-01-01Z")
    expired = support.data("GET", f"/admin/users/{ada}")
    assert (expired["status"], expired["ban"]) == ("active", None)


def test_ad1_an_ended_session_counts_as_last_seen_but_not_as_active(
    support: AdminClient, ada: int, api: ApiClient
) -> None:
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    assert api.with_token(token, "POST", "/sign_out").status_code == 200

    user = support.data("GET", f"/admin/users/{ada}")

    assert user["sessions"] == 0
    assert user["last_seen_at"] is not None


def test_ad1_a_temporary_user_is_shown_and_an_unknown_one_is_not(support: AdminClient, api: ApiClient) -> None:
    temporary = support.data("GET", f"/admin/users/{api.sign_up(GRACE)}")

    assert (temporary["status"], temporary["verified_mail"], temporary["password_set"]) == ("temporary", False, False)
    assert temporary["roles"] == ["ROLE_TEMPORARY_USER"]
    for unknown in ("4711", str(2**53 - 1)):
        assert support.error("GET", f"/admin/users/{unknown}") == (404, "user_unknown")
