"""Bans that are refused: invalid reasons and ends, the own account, users with more permissions, unknown users."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.actors import refusal
from tests.support.administration import AdminClient, Administration
from tests.support.bans import FOREVER, REASON, ban, ban_of
from tests.support.stores import Query


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({}, "reason", "missing"),
        ({"reason": " a\u200b "}, "reason", "too_short"),
        ({"reason": "a" * 501}, "reason", "too_long"),
        ({"reason": "two\nlines"}, "reason", "malformed"),
        ({"reason": "=?utf-8?q?subject?="}, "reason", "malformed"),
        ({"reason": None}, "reason", "wrong_type"),
        ({"reason": REASON, "until": "2020-01-01T00:00:00Z"}, "until", "too_small"),
        ({"reason": REASON, "until": "0001-01-01T00:00:00+14:00"}, "until", "too_small"),
        ({"reason": REASON, "until": "9999-12-31T23:59:59-14:00"}, "until", "too_large"),
        ({"reason": REASON, "until": "2099-01-01T00:00:00"}, "until", "malformed"),
        ({"reason": REASON, "until": "infinity"}, "until", "wrong_type"),
        ({"reason": REASON, "until": 4_000_000_000}, "until", "wrong_type"),
        ({"reason": REASON, "for": "ever"}, "for", "unexpected"),
    ],
)
def test_a_ban_with_an_invalid_reason_or_end_is_refused(
    ada: int, admin: AdminClient, query: Query, body: dict[str, Any], field: str, reason: str
) -> None:
    answer = admin.call("PUT", ban_of(ada), json=body)

    assert answer.status_code == 422, answer.text
    assert [(error["field"], error["reason"]) for error in refusal(answer)["fields"]] == [(field, reason)]
    assert query("SELECT banned_until FROM users WHERE id = %s", ada) == [(None,)]


def test_a_ban_ends_in_the_future_by_the_clock_of_the_database(ada: int, admin: AdminClient) -> None:
    now = datetime.now(UTC)
    for until, status in (
        (now - timedelta(seconds=1), 422),
        (now + timedelta(minutes=1), 200),
        (now + timedelta(days=36_500), 200),
        (now + timedelta(days=36_600), 422),
    ):
        body = {"reason": "a" * 500, "until": until.isoformat()}
        assert admin.call("PUT", ban_of(ada), json=body).status_code == status, until


def test_an_administrator_cannot_ban_the_own_account_and_a_service_has_none(
    admin: AdminClient, ada: int, administration: Administration
) -> None:
    administration.administrator("other@example.org")

    assert admin.error("PUT", ban_of(admin.user_id), json=FOREVER) == (403, "not_to_yourself")
    assert admin.error("DELETE", ban_of(admin.user_id)) == (403, "not_to_yourself")
    ban(administration.service("users:ban"), ada)


def test_r1_a_user_with_a_permission_that_the_caller_lacks_is_neither_banned_nor_unbanned(
    admin: AdminClient, administration: Administration
) -> None:
    support = administration.with_permissions("support@example.org", "users:ban", "films:edit")
    equal = administration.with_permissions("equal@example.org", "films:edit")
    above = administration.with_permissions("above@example.org", "films:edit", "roles:grant")
    service = administration.service("users:ban")

    ban(support, equal.user_id)
    assert support.error("PUT", ban_of(above.user_id), json=FOREVER) == (403, "beyond_your_own")
    assert service.error("PUT", ban_of(above.user_id), json=FOREVER) == (403, "beyond_your_own")
    ban(admin, above.user_id)
    for caller in (support, service):
        assert caller.error("DELETE", ban_of(above.user_id)) == (403, "beyond_your_own")


def test_r1_a_service_with_every_permission_cannot_ban_an_administrator(
    admin: AdminClient, administration: Administration
) -> None:
    every = [permission["name"] for permission in admin.data("GET", "/permissions")]
    administration.administrator("other@example.org")

    service = administration.service(*every)

    assert service.error("PUT", ban_of(admin.user_id), json=FOREVER) == (403, "beyond_your_own")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_the_ban_of_an_unknown_user_is_an_error(admin: AdminClient, method: str) -> None:
    body = {"json": FOREVER} if method == "PUT" else {}

    assert admin.error(method, ban_of(4711), **body) == (404, "user_unknown")
