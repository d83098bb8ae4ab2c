"""Cap of the audit log on failed attempts: bounded, separate from all other events, equal work for every address."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support import transactions
from tests.support.actors import ADA, PASSWORD, ApiClient
from tests.support.application import MakeApp
from tests.support.statements import plan_of, statements
from tests.support.stores import Query


@pytest.fixture
def capped(make_app: MakeApp) -> Flask:
    """An application that records three failed attempts a day."""
    return make_app(rate_limits="off", history_failures_a_day=3)


@pytest.mark.clock
def test_lg2_failed_attempts_cannot_flood_the_audit_log(
    ada: int, capped: Flask, query: Query, pass_time: Callable[..., None]
) -> None:
    api = ApiClient(capped)
    for _ in range(5):
        api.sign_in(ADA, "a wrong password")
        api.sign_in("unknown@example.org", PASSWORD)
    for _ in range(5):
        api.signed_in(ADA, PASSWORD)

    failures: dict[Any, Any] = dict(
        query("SELECT coalesce(user_id::text, kind), count(*) FROM events WHERE outcome = 'failure' GROUP BY 1")
    )
    assert failures == {str(ada): 3, "sign_in_refused": 3}
    assert query("SELECT count(*) FROM events WHERE kind = 'signed_in'") == [(5,)]

    # Failures older than a day do not count.
    pass_time(hours=25)
    api.sign_in(ADA, "a wrong password")
    assert query("SELECT count(*) FROM events WHERE outcome = 'failure' AND user_id = %s", ada) == [(4,)]


@pytest.mark.clock
def test_lg2_anonymous_clients_cannot_keep_failures_of_a_session_out_of_the_audit_log(
    ada: int, capped: Flask, query: Query
) -> None:
    api = ApiClient(capped)
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    for _ in range(5):
        api.sign_in(ADA, "a wrong password")
    for _ in range(5):
        api.change_password(token, "a wrong password", "another horse battery")

    failures = query("SELECT kind, count(*) FROM events WHERE outcome = 'failure' GROUP BY 1 ORDER BY 1")
    assert failures == [("password_refused", 3), ("sign_in_refused", 3)]

    # Failures older than a day do not count.
    query("UPDATE events SET at = at - interval '25 hours' WHERE outcome = 'failure'")
    api.change_password(token, "a wrong password", "another horse battery")
    assert query("SELECT count(*) FROM events WHERE kind = 'password_refused'") == [(4,)]


def test_en2_a_failed_attempt_runs_the_same_statements_for_known_and_unknown_addresses(
    ada: int, api: ApiClient, query: Query
) -> None:
    app = api.client.application
    executed: list[list[str]] = []
    for path, body in (
        ("/sign_in", {"password": "a wrong password"}),
        ("/sign_in/code", {"code": "123456"}),
        ("/password", {"code": "123456", "new_password": "another good password"}),
    ):
        method = "PUT" if path == "/password" else "POST"
        for email in ("warm@example.org", ADA, "unknown@example.org"):  # the first one prepares the statements
            with statements(app) as trace:
                assert api.call(method, path, json={"email": email, **body}).status_code in (401, 404)
            executed.append([statement.partition(" (")[0] for statement, _ in trace])

    for known, unknown in zip(executed[1::3], executed[2::3], strict=True):
        assert known == unknown
        assert all(statement.startswith("EXECUTE ") for statement in known), (
            "a statement that is not prepared would contain its values"
        )
    assert query("SELECT count(*) FROM events WHERE outcome = 'failure'") == [(9,)]


@pytest.mark.clock
def test_failures_in_a_long_audit_log_are_counted_by_an_index_or_not_at_all(
    ada: int, api: ApiClient, query: Query
) -> None:
    app = api.client.application
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    # Events of five weeks before and after now: PostgreSQL scans an empty partition sequentially, and the counted day
    # touches a second month at the end and at the beginning of a month.
    query(
        "INSERT INTO events (at, user_id, kind, outcome, device, details)"
        " SELECT now() + number * interval '200 seconds',"
        "  CASE number %% 3 WHEN 0 THEN NULL WHEN 1 THEN %s ELSE number END,"
        "  'code_refused', CASE number %% 2 WHEN 0 THEN 'success' ELSE 'failure' END, '', '{}'"
        " FROM generate_series(-15120, 15120) AS number",
        ada,
    )
    query("ANALYZE events")

    def plan(kind: str, send: Callable[[], TestResponse]) -> list[tuple[str, str]]:
        with statements(app) as trace:
            send()
        [statement] = [text for text, _ in trace if text.startswith("EXECUTE ") and f"'{kind}'" in text]
        return plan_of(app, statement, None)

    known = plan("sign_in_refused", lambda: api.sign_in(ADA, "a wrong password"))
    unknown = plan("sign_in_refused", lambda: api.sign_in("unknown@example.org", "a wrong password"))
    assert known == unknown
    # EN2: time that grows with the number of failures would differ, because unknown addresses share one cap.
    assert not [node for node in known if "Scan" in node[0] and node[0] != "CTE Scan"], known

    signed_in = plan("password_refused", lambda: api.change_password(token, "a wrong one", "another horse battery"))
    # The plan of the user look-up depends on whether autovacuum has analysed the table.
    months = [(kind, name) for kind, name in signed_in if name.startswith("events_")]
    assert 1 <= len(months) <= 2, "only the partitions of the counted day are scanned"
    assert all(kind.startswith("Index") and "coalesce_at" in name for kind, name in months), months
    query("DELETE FROM events")


def test_en2_a_failed_attempt_commits_once_below_and_beyond_the_cap(ada: int, capped: Flask, query: Query) -> None:
    api = ApiClient(capped)
    for email in (ADA, "unknown@example.org"):
        commits = []
        for _ in range(6):
            with transactions.committed(capped) as committed:
                api.sign_in(email, "a wrong password")
            commits.append(len(committed.ids))
        assert commits == [1] * 6
        assert query("SELECT count(*) FROM events WHERE outcome = 'failure'") != [(0,)]
