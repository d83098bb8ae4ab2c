"""`manage.py sessions revoke-all`: an operator revokes the sessions of all users after an incident."""

from typing import Any

import pytest
from flask import Flask

from auth_service.cli.sessions import sessions
from auth_service.services.sessions.mass_revocation import revoke_all_sessions
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.stores import Query

GRACE = "grace@example.org"


@pytest.fixture
def pairs(app: Flask, mailbox: Mailbox) -> list[dict[str, Any]]:
    """The tokens of two sessions of Ada and one of Grace."""
    for email in (ADA, GRACE):
        ApiClient(app).register(email, mailbox, password=PASSWORD)
    return [ApiClient(app).signed_in(email, PASSWORD) for email in (ADA, ADA, GRACE)]


def test_without_confirmation_nothing_is_revoked(app: Flask, pairs: list[dict[str, Any]]) -> None:
    result = app.test_cli_runner().invoke(sessions, ["revoke-all"])

    assert (result.exit_code, result.output) == (1, "Error: this signs out every user; confirm it with --yes\n")
    assert all(ApiClient(app).is_signed_in(pair["access_token"]) for pair in pairs)


def test_every_session_is_revoked_and_audited_once(app: Flask, pairs: list[dict[str, Any]], query: Query) -> None:
    runner = app.test_cli_runner()

    assert runner.invoke(sessions, ["revoke-all", "--yes"]).output == "revoked 3 sessions of 2 users\n"
    assert runner.invoke(sessions, ["revoke-all", "--yes"]).output == "revoked 0 sessions of 0 users\n"

    api = ApiClient(app)
    for pair in pairs:
        assert not api.is_signed_in(pair["access_token"])
        assert refusal(api.refresh(pair["refresh_token"]))["code"] == "refresh_rejected"
    ended = query("SELECT session_id, address, device, details FROM events WHERE kind = 'session_ended'")
    assert len({session_id for session_id, *_ in ended}) == 3
    assert all(rest == [None, "manage.py", {"reason": "revoked_by_operator"}] for _, *rest in ended)
    assert ApiClient(app).sign_in(ADA, PASSWORD).status_code == 200, "users sign in again with their passwords"


def test_batches_end_although_expired_sessions_stay_and_users_sign_in_meanwhile(
    app: Flask, pairs: list[dict[str, Any]], query: Query
) -> None:
    query("UPDATE sessions SET idle_at = now() WHERE id = (SELECT min(id::text)::uuid FROM sessions)")
    api, batches = ApiClient(app), []
    with app.app_context():
        for batch in revoke_all_sessions(at_most=1):
            batches.append(len(batch))
            api.signed_in(ADA, PASSWORD)

    assert batches == [1, 1]
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL AND idle_at > now()") == [(2,)]


def test_a_session_that_ends_meanwhile_is_recorded_once(app: Flask, pairs: list[dict[str, Any]], query: Query) -> None:
    with app.app_context():
        first, second = revoke_all_sessions(at_most=2), revoke_all_sessions(at_most=2)
        counts = [len(batch) for batch in (next(first), next(second), *first, *second)]

    assert sum(counts) == 3
    assert query("SELECT count(*) FROM events WHERE kind = 'session_ended'") == [(3,)]


def test_each_batch_is_read_along_an_index(app: Flask, pairs: list[dict[str, Any]], query: Query) -> None:
    # With few rows, sorting them may cost less than the index that has their order.
    plan = query(
        "SET enable_seqscan = off; SET enable_sort = off;"
        " EXPLAIN SELECT id, expires_at FROM sessions WHERE ended_at IS NULL"
        " AND idle_at > now() AND expires_at > now() AND opened_at <= now()"
        " AND (expires_at, id) > (now(), gen_random_uuid()) ORDER BY expires_at, id LIMIT 500"
    )

    assert "ix_sessions_expires_at" in str(plan)


def test_an_unavailable_database_is_reported_with_the_count(make_app: Any) -> None:
    app = make_app(database_url="postgresql://auth@127.0.0.1:9/auth")

    result = app.test_cli_runner().invoke(sessions, ["revoke-all", "--yes"])

    assert result.exit_code == 1
    assert result.output == (
        "Error: DATABASE_URL: 127.0.0.1:9 refused the connection: nothing listens there, or a firewall rejects it;"
        " revoked 0 sessions before that; run the command again to revoke the others\n"
    )
