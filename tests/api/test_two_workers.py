"""Races on two workers: fifty concurrent requests to gunicorn with two processes; a worker killed after COMMIT."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.live import FIRST_ADMINISTRATOR, Answer, Live
from tests.support.races import at_once, together
from tests.support.stores import Query, Stores

pytestmark = pytest.mark.slow

FIFTY = 50
ADMIN = "ROLE_PORTAL_ADMIN"
KEY = {"Idempotency-Key": "two-workers-0"}
ROLE = {"name": "ROLE_EDITOR", "permissions": ["films:edit"]}
BARRIER = 20_260_731
"""The advisory lock for which the COMMIT of a keyed request waits."""


@pytest.fixture(autouse=True)
def _two_workers(live: Live) -> None:
    live.wait_for_workers(2)


def fifty(act: Callable[[], Answer]) -> tuple[list[Answer], Counter[tuple[int, str]]]:
    """Fifty concurrent requests: their answers, and how often each outcome occurred."""
    answers = at_once(FIFTY, act)
    return answers, Counter(answer.outcome for answer in answers)


def test_lv5_of_fifty_concurrent_reauthentications_one_opens_a_session(
    live: Live, administration: Administration, query: Query
) -> None:
    ada = administration.user(ADA)

    answers, outcomes = fifty(
        lambda: live.call("POST", "/users/me/reauthenticate", headers=ada.headers, body={"password": PASSWORD})
    )

    assert outcomes == {(200, ""): 1, (401, "token_invalid"): FIFTY - 1}
    sessions = query("SELECT ended_at IS NULL, end_reason FROM sessions WHERE user_id = %s ORDER BY 1", ada.user_id)
    assert sessions == [(False, "reauthenticated"), (True, None)], "no session is left without an owner of its tokens"
    [new] = [answer.json["data"]["access_token"] for answer in answers if answer.status == 200]
    assert live.call("GET", "/users/me", headers={"Authorization": f"Bearer {new}"}).status == 200
    assert query("SELECT count(*) FROM events WHERE kind = 'reauthenticated'") == [(1,)]


def test_lv6_fifty_concurrent_equal_requests_do_the_work_once_and_get_one_answer(
    live: Live, administration: Administration, query: Query
) -> None:
    admin, other = administration.administrator(), administration.administrator("other@example.org")
    headers = {**admin.headers, **KEY}

    answers, outcomes = fifty(lambda: live.call("POST", "/roles", headers=headers, body=ROLE))

    assert outcomes == {(201, ""): FIFTY}
    assert len({answer.body for answer in answers}) == 1
    assert query("SELECT count(*) FROM events WHERE kind = 'role.created'") == [(1,)]
    reused = live.call("POST", "/roles", headers=headers, body={**ROLE, "description": "Another body."})
    assert reused.outcome == (422, "idempotency_key_reused")
    independent = live.call("POST", "/roles", headers={**other.headers, **KEY}, body=ROLE)
    assert independent.outcome == (409, "role_taken")


@contextmanager
def commit_held_open(stores: Stores, query: Query) -> Iterator[Callable[[], None]]:
    """The COMMIT of every keyed request waits in PostgreSQL until the yielded function is called."""
    query(
        f"CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS"
        f" 'BEGIN PERFORM pg_advisory_xact_lock_shared({BARRIER}); RETURN NULL; END'"
    )
    query(
        "CREATE CONSTRAINT TRIGGER held_open AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION wait_for_the_test()"
    )
    connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    connection.autocommit = True
    try:
        connection.cursor().execute("SELECT pg_advisory_lock(%s)", [BARRIER])
        yield lambda: connection.cursor().execute("SELECT pg_advisory_unlock(%s)", [BARRIER])
    finally:
        connection.close()
        query("DROP FUNCTION wait_for_the_test CASCADE")


def wait_for(query: Query, statement: str, *values: Any) -> None:
    give_up_at = time.monotonic() + 5
    while query(statement, *values) != [(True,)]:
        assert time.monotonic() < give_up_at, statement
        time.sleep(0.01)


def test_lv6_after_a_kill_between_commit_and_answer_the_retry_gets_the_stored_answer(
    live: Live, administration: Administration, stores: Stores, query: Query
) -> None:
    headers = {**administration.administrator().headers, **KEY}
    target = ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
    with commit_held_open(stores, query) as release, ThreadPoolExecutor(1) as client:
        body = b'{"name": "ROLE_EDITOR", "permissions": ["films:edit"]}'
        lost = client.submit(live.request, "POST", "/api/v1/roles", *target, body=body)
        wait_for(query, "SELECT count(*) = 1 FROM pg_locks WHERE objid = %s AND NOT granted", BARRIER)
        workers = live.freeze_workers()
        release()
        wait_for(query, "SELECT count(*) = 1 FROM idempotency_keys")
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert isinstance(lost.exception(), ConnectionError), "the client gets no answer"
    live.wait_until_ready()

    answers, outcomes = fifty(lambda: live.call("POST", "/roles", headers=headers, body=ROLE))

    assert outcomes == {(201, ""): FIFTY}
    assert {answer.body for answer in answers} == {answers[0].body}
    assert answers[0].json["data"] == {**ROLE, "description": None, "system": False}
    assert query("SELECT count(*) FROM events WHERE kind = 'role.created'") == [(1,)]
    live.wait_for_workers(2)


def test_ot3_fifty_concurrent_requests_make_one_first_administrator(
    live: Live, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    user_id = api.sign_up(FIRST_ADMINISTRATOR)
    api.ask_for_code(user_id)
    assert api.confirm(user_id, mailbox.code_sent_to(FIRST_ADMINISTRATOR)).status_code == 200

    _, outcomes = fifty(lambda: live.call("PATCH", f"/users/{user_id}/sign_up", headers={}))

    assert outcomes == {(200, ""): FIFTY}
    assert query("SELECT user_id FROM user_roles WHERE role = %s", ADMIN) == [(user_id,)]
    assert query("SELECT user_id, actor_type FROM events WHERE kind = 'role.granted'") == [(user_id, "system")]
    subjects = [message.subject for message in mailbox.letters_to(FIRST_ADMINISTRATOR)]
    assert len([subject for subject in subjects if "administrator" in subject]) == 1


@pytest.mark.usefixtures("no_deadlock")
def test_ro4_two_administrators_who_revoke_each_other_fifty_times_always_leave_one(
    live: Live, administration: Administration, query: Query
) -> None:
    one, two = administration.administrator(), administration.administrator("other@example.org")

    def revoke(actor: AdminClient, target: AdminClient) -> Answer:
        return live.call("DELETE", f"/users/{target.user_id}/roles/{ADMIN}", headers=actor.headers)

    outcomes: Counter[tuple[int, str]] = Counter()
    for _ in range(FIFTY):
        answers = together(lambda: revoke(one, two), lambda: revoke(two, one))
        outcomes.update(answer.outcome for answer in answers)
        [(remaining,)] = query("SELECT user_id FROM user_roles WHERE role = %s", ADMIN)
        administration.grant(({one.user_id, two.user_id} - {remaining}).pop() or 0, ADMIN)

    # The loser is refused by the access rule, or, if its request passed it before, under the lock.
    assert outcomes[200, ""] == FIFTY
    assert outcomes.keys() <= {(200, ""), (403, "permission_missing"), (409, "last_administrator")}


def test_ro5_a_revoked_permission_is_refused_at_the_next_request_by_both_workers(
    live: Live, administration: Administration
) -> None:
    admin = administration.administrator()
    administration.role("ROLE_READER", "roles:read")
    reader = administration.user(ADA)
    service = administration.service("tokens:introspect")
    path = f"/users/{reader.user_id}/roles/ROLE_READER"
    token = {"token": reader.headers["Authorization"].removeprefix("Bearer ")}

    def listed() -> Answer:
        return live.call("GET", "/roles", headers=reader.headers)

    def introspected() -> list[str]:
        answer = live.call("POST", "/tokens/introspect", headers=service.headers, body=token)
        permissions: list[str] = answer.json["data"]["permissions"]
        return permissions

    for _ in range(3):
        assert live.call("PUT", path, headers=admin.headers).status == 200
        assert fifty(listed)[1] == {(200, ""): FIFTY}
        assert introspected() == ["roles:read"]
        assert live.call("DELETE", path, headers=admin.headers).status == 200
        assert fifty(listed)[1] == {(403, "permission_missing"): FIFTY}
        assert introspected() == []
