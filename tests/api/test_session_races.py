"""Races of session revocation with sign-in, refresh and sign-out, on real PostgreSQL and Valkey with threads."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from threading import Barrier
from typing import Any

import psycopg2
import pytest
from flask import Flask

from tests.support.actors import ApiClient, Mailbox
from tests.support.races import at_once, outcome
from tests.support.statements import LOCK_WAITS
from tests.support.stores import Stores

pytestmark = pytest.mark.slow

ADA = "ada@example.org"
OLD, NEW = "correct horse battery", "another horse battery"

Answer = Any
"""A response of the test client."""
PrepareReset = Callable[[str], Callable[[], Answer]]
MONTHS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass"
Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def query(stores: Stores) -> Iterator[Query]:
    """Runs a statement on a separate connection; a transaction stays open until COMMIT."""
    connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    connection.autocommit = True

    def run(statement: str) -> list[tuple[Any, ...]]:
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []

    yield run
    connection.close()


@pytest.fixture(autouse=True)
def _ada(api: ApiClient, mailbox: Mailbox) -> None:
    api.register(ADA, mailbox, password=OLD)


@pytest.fixture
def recovering(crowded: Flask, mailbox: Mailbox) -> Callable[[str], Callable[[], Answer]]:
    """Sends a user a code and returns a function that resets the password with it."""

    def ask(email: str) -> Callable[[], Answer]:
        asked = ApiClient(crowded).call("POST", "/password/send_code", json={"email": email})
        assert asked.status_code == 200
        body = {"email": email, "code": mailbox.code_sent_to(email), "new_password": NEW}
        return lambda: ApiClient(crowded).call("PUT", "/password", json=body)

    return ask


@pytest.fixture
def register(crowded: Flask, mailbox: Mailbox) -> Callable[[], str]:
    """Registers a user with a password; returns the address."""
    numbers = count()

    def make() -> str:
        email = f"register-{next(numbers)}@example.org"
        ApiClient(crowded).register(email, mailbox, password=OLD)
        return email

    return make


def sign_in(app: Flask, email: str = ADA) -> Answer:
    return ApiClient(app).sign_in(email, OLD)


def together(*calls: Callable[[], Answer]) -> list[Answer]:
    """The responses to concurrent calls."""
    barrier = Barrier(len(calls))

    def run(number: int) -> Answer:
        barrier.wait()
        return calls[number]()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, range(len(calls))))


def serialized(query: Query, *calls: Callable[[], Answer]) -> list[Answer]:
    """The responses to calls, each of which starts when the call before it has only its audit event left to write.

    Each call writes its audit event last. A lock on the monthly partitions of the audit log makes it wait there. A lock
    on the parent table would make the statement wait before it writes anything else.
    """
    months = ", ".join(name for (name,) in query(MONTHS))
    with ThreadPoolExecutor(len(calls)) as pool:
        started = []
        query(f"BEGIN; LOCK TABLE {months} IN SHARE MODE")
        try:
            for call in calls:
                started.append(pool.submit(call))
                deadline = time.monotonic() + 0.9  # less than the lock timeout
                while query(LOCK_WAITS) < [(len(started),)] and time.monotonic() < deadline:
                    time.sleep(0.005)
        finally:
            query("COMMIT")
        return [future.result() for future in started]


def without_timeouts(scenario: Callable[[], list[Answer]]) -> list[Answer]:
    """The responses of the first run without a 503, which a busy machine may return."""
    for _ in range(10):
        answers = scenario()
        if all(answer.status_code != 503 for answer in answers):
            return answers
    raise AssertionError("in every attempt a request waited too long")


def is_rejected(app: Flask, pair: dict[str, Any]) -> bool:
    """Whether both tokens of a pair are rejected."""
    client = ApiClient(app)
    return (
        client.with_token(pair["access_token"], "GET", "/me").status_code == 401
        and client.refresh(pair["refresh_token"]).status_code == 401
    )


def test_pw10_a_password_reset_revokes_a_session_that_is_being_opened(
    crowded: Flask, register: Callable[[], str], recovering: PrepareReset, query: Query
) -> None:
    def scenario() -> list[Answer]:
        email = register()
        return serialized(query, partial(sign_in, crowded, email), recovering(email))

    signed_in, reset = without_timeouts(scenario)

    assert (outcome(signed_in), outcome(reset)) == ((200, ""), (200, ""))
    assert is_rejected(crowded, signed_in.get_json()["data"])


def test_pw10_a_sign_in_that_waits_for_a_password_reset_is_rejected(
    crowded: Flask, register: Callable[[], str], recovering: PrepareReset, query: Query
) -> None:
    def scenario() -> list[Answer]:
        email = register()
        return serialized(query, recovering(email), partial(sign_in, crowded, email))

    reset, signed_in = without_timeouts(scenario)

    assert (outcome(reset), outcome(signed_in)) == ((200, ""), (401, "credentials_rejected"))


def test_pw10_no_session_of_the_old_password_survives_a_concurrent_reset(
    crowded: Flask, recovering: PrepareReset, query: Query
) -> None:
    before = ApiClient(crowded).signed_in(ADA, OLD)

    reset, refreshed, *opened = together(
        recovering(ADA),
        lambda: ApiClient(crowded).refresh(before["refresh_token"]),
        *[partial(sign_in, crowded)] * 12,
    )

    assert outcome(reset) == (200, "")
    assert {outcome(answer) for answer in opened} <= {(200, ""), (401, "credentials_rejected")}
    pairs = [answer.get_json()["data"] for answer in (refreshed, *opened) if answer.status_code == 200]
    assert all(is_rejected(crowded, pair) for pair in (before, *pairs))
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(0,)]
    assert ApiClient(crowded).sign_in(ADA, OLD).status_code == 401
    assert ApiClient(crowded).sign_in(ADA, NEW).status_code == 200


def test_tk12_no_refreshed_token_survives_a_concurrent_sign_out(crowded: Flask) -> None:
    for _ in range(5):
        pair = ApiClient(crowded).signed_in(ADA, OLD)

        signed_out, *refreshed = together(
            partial(ApiClient(crowded).with_token, pair["access_token"], "POST", "/sign_out"),
            *[partial(ApiClient(crowded).refresh, pair["refresh_token"])] * 20,
        )

        assert outcome(signed_out) == (200, "")
        assert {outcome(answer) for answer in refreshed} <= {(200, ""), (401, "refresh_rejected")}
        pairs = [answer.get_json()["data"] for answer in refreshed if answer.status_code == 200]
        assert all(is_rejected(crowded, each) for each in (pair, *pairs))


def test_tk12_of_fifty_concurrent_sign_outs_one_is_recorded(crowded: Flask, query: Query) -> None:
    token = ApiClient(crowded).signed_in(ADA, OLD)["access_token"]

    answers = at_once(50, lambda: ApiClient(crowded).with_token(token, "POST", "/sign_out"))

    outcomes = Counter(map(outcome, answers))
    assert outcomes[200, ""] >= 1
    assert outcomes.keys() <= {(200, ""), (401, "token_invalid")}
    assert query("SELECT count(*) FROM events WHERE kind = 'signed_out'") == [(1,)]


def test_cd2_fifty_concurrent_right_codes_open_one_session(
    crowded: Flask, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    assert api.call("POST", "/sign_in/send_code", json={"email": ADA}).status_code == 200
    body = {"email": ADA, "code": mailbox.code_sent_to(ADA)}

    answers = at_once(50, lambda: ApiClient(crowded).call("POST", "/sign_in/code", json=body))

    assert Counter(map(outcome, answers)) == {(200, ""): 1, (401, "credentials_rejected"): 49}
    assert query("SELECT count(*) FROM sessions") == [(1,)]
    assert query("SELECT count(*) FROM events WHERE kind = 'signed_in'") == [(1,)]


def test_concurrent_revocations_of_each_other_do_not_deadlock(crowded: Flask, query: Query) -> None:
    pairs = [ApiClient(crowded).signed_in(ADA, OLD) for _ in range(12)]
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = query(deadlocks)

    answers = together(
        *[partial(ApiClient(crowded).with_token, pair["access_token"], "DELETE", "/me/sessions") for pair in pairs],
        *[partial(ApiClient(crowded).refresh, pair["refresh_token"]) for pair in pairs],
    )

    assert {answer.status_code for answer in answers} <= {200, 401}
    assert query(deadlocks) == before
    ended = query("SELECT session_id FROM events WHERE kind = 'session_ended'")
    assert len(ended) == len(set(ended)) >= 11


def test_sessions_are_revoked_in_the_order_of_their_ids(crowded: Flask, query: Query) -> None:
    token = ApiClient(crowded).signed_in(ADA, OLD)["access_token"]
    low, high = "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"
    for session in (high, low):  # so in the table the higher one comes first
        assert ApiClient(crowded).sign_in(ADA, OLD).status_code == 200
        query(f"UPDATE sessions SET id = '{session}' WHERE opened_at = (SELECT max(opened_at) FROM sessions)")

    with ThreadPoolExecutor(1) as pool:
        query(f"BEGIN; UPDATE sessions SET refreshed_at = now() WHERE id = '{low}'")
        try:
            revocation = pool.submit(ApiClient(crowded).with_token, token, "DELETE", "/me/sessions")
            deadline = time.monotonic() + 0.9  # less than the lock timeout
            while query(LOCK_WAITS) < [(1,)] and time.monotonic() < deadline:
                time.sleep(0.005)
            free = query(f"SELECT id::text FROM sessions WHERE id = '{high}' FOR UPDATE SKIP LOCKED")
        finally:
            query("COMMIT")

    assert free == [(high,)], "a transaction that waits for one session locks none with a higher id"
    assert outcome(revocation.result()) == (200, "")
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(1,)]
