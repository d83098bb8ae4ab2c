"""Signing in and out just when something ends sessions: threads and committed data, on real engines."""

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

ADA = "ada@example.org"
OLD, NEW = "correct horse battery", "another horse battery"

Answer = Any
"""Of the test client."""
Recovering = Callable[[str], Callable[[], Answer]]
MONTHS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass"
Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def query(stores: Stores) -> Iterator[Query]:
    """Runs a statement beside the application; a transaction goes on until COMMIT."""
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
    """Sends a user a code, and returns a function that sets another password with it."""

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


def together(*acts: Callable[[], Answer]) -> list[Answer]:
    """The answers to different things that are done at the same moment."""
    barrier = Barrier(len(acts))

    def act(number: int) -> Answer:
        barrier.wait()
        return acts[number]()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(act, range(len(acts))))


def one_after_the_other(query: Query, *acts: Callable[[], Answer]) -> list[Answer]:
    """The answers to things of which each begins when the one before it has done everything but commit.

    Writing into the history is the last thing that each of them does, and it has to wait for that: not for the history
    as a whole, which a statement asks for before it does anything, but for the month that it writes into.
    """
    months = ", ".join(name for (name,) in query(MONTHS))
    with ThreadPoolExecutor(len(acts)) as pool:
        begun = []
        query(f"BEGIN; LOCK TABLE {months} IN SHARE MODE")
        try:
            for act in acts:
                begun.append(pool.submit(act))
                until = time.monotonic() + 0.9  # less than anybody waits for a lock
                while query(LOCK_WAITS) < [(len(begun),)] and time.monotonic() < until:
                    time.sleep(0.005)
        finally:
            query("COMMIT")
        return [each.result() for each in begun]


def in_time(scenario: Callable[[], list[Answer]]) -> list[Answer]:
    """The answers of the first time that nobody had to be told to come back, as happens on a busy machine."""
    for _ in range(10):
        answers = scenario()
        if all(answer.status_code != 503 for answer in answers):
            return answers
    raise AssertionError("in every attempt a request waited too long")


def is_refused(app: Flask, pair: dict[str, Any]) -> bool:
    """Whether neither token of a pair is worth anything."""
    stranger = ApiClient(app)
    return (
        stranger.with_token(pair["access_token"], "GET", "/me").status_code == 401
        and stranger.refresh(pair["refresh_token"]).status_code == 401
    )


def test_pw10_a_session_that_is_being_opened_is_ended_by_a_recovery_that_comes_second(
    crowded: Flask, register: Callable[[], str], recovering: Recovering, query: Query
) -> None:
    def scenario() -> list[Answer]:
        email = register()
        return one_after_the_other(query, partial(sign_in, crowded, email), recovering(email))

    signed_in, recovered = in_time(scenario)

    assert (outcome(signed_in), outcome(recovered)) == ((200, ""), (200, ""))
    assert is_refused(crowded, signed_in.get_json()["data"])


def test_pw10_a_sign_in_that_comes_second_finds_that_the_password_was_changed(
    crowded: Flask, register: Callable[[], str], recovering: Recovering, query: Query
) -> None:
    def scenario() -> list[Answer]:
        email = register()
        return one_after_the_other(query, recovering(email), partial(sign_in, crowded, email))

    recovered, signed_in = in_time(scenario)

    assert (outcome(recovered), outcome(signed_in)) == ((200, ""), (401, "credentials_rejected"))


def test_pw10_no_session_of_the_old_password_outlives_a_recovery(
    crowded: Flask, recovering: Recovering, query: Query
) -> None:
    before = ApiClient(crowded).signed_in(ADA, OLD)

    recovered, refreshed, *opened = together(
        recovering(ADA),
        lambda: ApiClient(crowded).refresh(before["refresh_token"]),
        *[partial(sign_in, crowded)] * 12,
    )

    assert outcome(recovered) == (200, "")
    assert {outcome(answer) for answer in opened} <= {(200, ""), (401, "credentials_rejected")}
    given = [answer.get_json()["data"] for answer in (refreshed, *opened) if answer.status_code == 200]
    assert all(is_refused(crowded, pair) for pair in (before, *given))
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(0,)]
    assert ApiClient(crowded).sign_in(ADA, OLD).status_code == 401
    assert ApiClient(crowded).sign_in(ADA, NEW).status_code == 200


def test_tk12_no_refreshed_token_outlives_a_sign_out(crowded: Flask) -> None:
    for _ in range(5):
        pair = ApiClient(crowded).signed_in(ADA, OLD)

        signed_out, *refreshed = together(
            partial(ApiClient(crowded).with_token, pair["access_token"], "POST", "/sign_out"),
            *[partial(ApiClient(crowded).refresh, pair["refresh_token"])] * 20,
        )

        assert outcome(signed_out) == (200, "")
        assert {outcome(answer) for answer in refreshed} <= {(200, ""), (401, "refresh_rejected")}
        given = [answer.get_json()["data"] for answer in refreshed if answer.status_code == 200]
        assert all(is_refused(crowded, each) for each in (pair, *given))


def test_tk12_of_fifty_sign_outs_one_is_written_down(crowded: Flask, query: Query) -> None:
    token = ApiClient(crowded).signed_in(ADA, OLD)["access_token"]

    answers = at_once(50, lambda: ApiClient(crowded).with_token(token, "POST", "/sign_out"))

    found = Counter(map(outcome, answers))
    assert found[200, ""] >= 1
    assert found.keys() <= {(200, ""), (401, "token_invalid")}
    assert query("SELECT count(*) FROM events WHERE kind = 'signed_out'") == [(1,)]


def test_cd2_one_of_fifty_right_codes_opens_one_session(
    crowded: Flask, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    assert api.call("POST", "/sign_in/send_code", json={"email": ADA}).status_code == 200
    body = {"email": ADA, "code": mailbox.code_sent_to(ADA)}

    answers = at_once(50, lambda: ApiClient(crowded).call("POST", "/sign_in/code", json=body))

    assert Counter(map(outcome, answers)) == {(200, ""): 1, (401, "credentials_rejected"): 49}
    assert query("SELECT count(*) FROM sessions") == [(1,)]
    assert query("SELECT count(*) FROM events WHERE kind = 'signed_in'") == [(1,)]


def test_those_who_end_each_other_do_not_wait_for_each_other(crowded: Flask, query: Query) -> None:
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


def test_sessions_are_ended_in_the_order_of_their_ids(crowded: Flask, query: Query) -> None:
    token = ApiClient(crowded).signed_in(ADA, OLD)["access_token"]
    low, high = "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"
    for session in (high, low):  # so in the table the higher one comes first
        assert ApiClient(crowded).sign_in(ADA, OLD).status_code == 200
        query(f"UPDATE sessions SET id = '{session}' WHERE opened_at = (SELECT max(opened_at) FROM sessions)")

    with ThreadPoolExecutor(1) as pool:
        query(f"BEGIN; UPDATE sessions SET refreshed_at = now() WHERE id = '{low}'")
        try:
            ending = pool.submit(ApiClient(crowded).with_token, token, "DELETE", "/me/sessions")
            until = time.monotonic() + 0.9  # less than anybody waits for a lock
            while query(LOCK_WAITS) < [(1,)] and time.monotonic() < until:
                time.sleep(0.005)
            free = query(f"SELECT id::text FROM sessions WHERE id = '{high}' FOR UPDATE SKIP LOCKED")
        finally:
            query("COMMIT")

    assert free == [(high,)], "nobody who waits for one session holds another with a higher id"
    assert outcome(ending.result()) == (200, "")
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(1,)]
