"""Email outbox of administrators: list emails by state without contents, retry one that waits."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from auth_service.wiring import Services
from tests.support.actors import ADA, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration

Query = Callable[..., list[Any]]
STATES = ("waiting", "sent", "expired", "dead")


@pytest.fixture
def operator(administration: Administration, query: Query) -> AdminClient:
    """A user who may read and retry emails. The outbox is empty."""
    client = administration.with_permissions("operator@example.org", "mail:read", "mail:write")
    query("DELETE FROM letters")
    return client


@pytest.fixture
def waiting(operator: AdminClient, api: ApiClient, query: Query) -> str:
    """The id of a waiting email with a registration code to Ada."""
    api.ask_for_code(api.sign_up(ADA))
    [(message_id,)] = query("SELECT id FROM letters")
    return str(message_id)


def add_emails(query: Query, state: str, count: int) -> None:
    query(
        "INSERT INTO letters (id, dedup_key, kind, recipient, recipient_key, language, payload, state, attempts,"
        " not_after, created_at, ended_at, trouble)"
        " SELECT gen_random_uuid(), %s || n, 'sign_in_code', 'x@example.org', 'x@example.org', 'en',"
        " CASE WHEN %s = 'waiting' THEN 'payload'::bytea END, %s, 2, now() + interval '1 hour',"
        " now() - n * interval '1 minute', CASE WHEN %s <> 'waiting' THEN now() END, '550'"
        " FROM generate_series(1, %s) n",
        state,
        state,
        state,
        state,
        count,
    )


def test_the_list_shows_emails_without_contents_and_recipients(
    operator: AdminClient, waiting: str, query: Query
) -> None:
    [email] = operator.data("GET", "/admin/mail")

    [(user_id,)] = query("SELECT id FROM users WHERE email = %s", ADA)
    assert email.keys() == {
        "id",
        "kind",
        "state",
        "attempts",
        "user_id",
        "created_at",
        "ended_at",
        "next_attempt_at",
        "reason",
    }
    assert (email["id"], email["kind"], email["state"]) == (waiting, "registration_code", "waiting")
    assert (email["user_id"], email["attempts"], email["ended_at"]) == (user_id, 0, None)
    assert email["next_attempt_at"] is not None


def test_emails_are_filtered_by_state_and_paged_newest_first(operator: AdminClient, query: Query) -> None:
    for state in STATES:
        add_emails(query, state, 3)

    for state in STATES:
        listed = operator.data("GET", f"/admin/mail?state={state}")
        assert [email["state"] for email in listed] == [state] * 3
        assert [email["created_at"] for email in listed] == sorted(
            (email["created_at"] for email in listed), reverse=True
        )
        assert all((email["ended_at"] is None) == (email["next_attempt_at"] is not None) for email in listed)
        assert {email["reason"] for email in listed} == {"550"}

    found, cursor = [], ""
    while True:
        body = operator.call("GET", f"/admin/mail?limit=5{cursor}").get_json()
        found += body["data"]
        if body["next_cursor"] is None:
            break
        cursor = f"&cursor={body['next_cursor']}"
    assert len({email["id"] for email in found}) == len(found) == 12
    assert [email["created_at"] for email in found] == sorted((email["created_at"] for email in found), reverse=True)
    assert operator.error("GET", "/admin/mail?state=lost") == (422, "validation_failed")


def test_a_cursor_of_another_state_or_caller_is_refused(
    operator: AdminClient, administration: Administration, query: Query
) -> None:
    add_emails(query, "dead", 3)
    cursor = operator.call("GET", "/admin/mail?state=dead&limit=1").get_json()["next_cursor"]

    assert len(operator.data("GET", f"/admin/mail?state=dead&cursor={cursor}")) == 2
    for client, path in (
        (operator, "/admin/mail?"),
        (operator, "/admin/mail?state=sent"),
        (administration.service("mail:read"), "/admin/mail?state=dead"),
    ):
        assert client.error("GET", f"{path}&cursor={cursor}") == (422, "validation_failed")


def test_a_deferred_email_is_sent_at_once_after_a_retry(
    operator: AdminClient, waiting: str, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        [claimed] = services.delivery.claim(at_most=1)
    query(
        "UPDATE letters SET lease_until = NULL, next_attempt_at = now() + interval '1 hour', trouble = '451'"
        " WHERE id = %s",
        waiting,
    )
    assert str(claimed.id) == waiting
    assert mailbox.deliver() == []

    email = operator.data("POST", f"/admin/mail/{waiting}/retry")

    assert (email["id"], email["state"], email["reason"], email["attempts"]) == (waiting, "waiting", "451", 1)
    assert mailbox.deliver() == ["sent"]
    events = query(
        "SELECT user_id, actor_type, actor_id, target_type, target_id, details FROM events WHERE kind = 'mail.retried'"
    )
    assert events == [(None, "user", str(operator.user_id), "email", waiting, {})]


def test_a_retry_does_not_delay_an_email_that_is_due_already(operator: AdminClient, waiting: str, query: Query) -> None:
    query("UPDATE letters SET next_attempt_at = now() - interval '1 minute'")
    before = query("SELECT next_attempt_at FROM letters")

    operator.data("POST", f"/admin/mail/{waiting}/retry")

    assert query("SELECT next_attempt_at FROM letters") == before


def test_a_retry_does_not_take_an_email_from_the_worker_that_sends_it(
    operator: AdminClient, waiting: str, app: Flask, mailbox: Mailbox
) -> None:
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        assert len(services.delivery.claim(at_most=1)) == 1

    operator.data("POST", f"/admin/mail/{waiting}/retry")

    assert mailbox.deliver() == []


@pytest.mark.parametrize("state", ["sent", "expired", "dead"])
def test_an_ended_email_cannot_be_sent_again(operator: AdminClient, query: Query, state: str) -> None:
    add_emails(query, state, 1)
    [email] = operator.data("GET", "/admin/mail")

    answer = operator.call("POST", f"/admin/mail/{email['id']}/retry")

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (409, "mail_ended")
    assert "ask the user to request a new one" in answer.get_json()["error"]["msg"]
    assert query("SELECT 1 FROM events WHERE kind = 'mail.retried'") == []


def test_a_waiting_email_that_is_too_old_to_be_sent_cannot_be_retried(
    operator: AdminClient, waiting: str, query: Query
) -> None:
    query("UPDATE letters SET not_after = now() - interval '1 second'")

    assert operator.error("POST", f"/admin/mail/{waiting}/retry") == (409, "mail_ended")


def test_a_retry_of_an_unknown_email_is_an_error(operator: AdminClient) -> None:
    assert operator.error("POST", f"/admin/mail/{uuid.uuid4()}/retry") == (404, "mail_unknown")
    assert operator.error("POST", "/admin/mail/4711/retry") == (404, "path_unknown")
