"""Failed attempts at the second factor: counting, delays, races, delays that do not lock the owner out."""

import math
import re
import time

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.races import at_once, outcome
from tests.support.second_factor import PERIOD, STEP, TOTP, ProtectedUser, app_of, begin, enrolled
from tests.support.stores import Query, Stores

OVERLOADED = 503
"""On a loaded machine a few of fifty concurrent requests wait too long for a connection or a lock."""


def send(app: Flask, **body: object) -> int:
    """The status of a second step of a client without cookies."""
    return ApiClient(app, cookies=False).call("POST", STEP, json=body).status_code


def failures(query: Query) -> int:
    [(count,)] = query("SELECT failures FROM second_factors")
    return int(count)


def test_sf3_fifty_concurrent_second_steps_with_one_code_open_one_session(
    crowded: Flask, ada: int, query: Query
) -> None:
    user = enrolled(ApiClient(crowded), ADA, query)
    ticket, code = user.ticket(), user.unused_code()
    before = query("SELECT count(*) FROM sessions")[0][0]

    statuses = at_once(50, lambda: send(crowded, ticket=ticket, totp=code))

    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, OVERLOADED}
    assert query("SELECT count(*) FROM sessions")[0][0] == before + 1


def test_sf3_fifty_concurrent_enrolments_with_one_code_open_one_session(crowded: Flask, ada: int, query: Query) -> None:
    api = ApiClient(crowded)
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    code = app_of(begin(api, token)).now()

    statuses = at_once(
        50,
        lambda: ApiClient(crowded, cookies=False).with_token(token, "PUT", TOTP, json={"totp": code}).status_code,
    )

    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 404, OVERLOADED}
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(1,)]
    assert query("SELECT count(*) FROM recovery_codes") == [(10,)]


def test_sf3_of_fifty_concurrent_reauthentications_with_one_code_one_replaces_the_session(
    crowded: Flask, ada: int, query: Query
) -> None:
    user = enrolled(ApiClient(crowded), ADA, query)
    body = {"password": PASSWORD, "totp": user.unused_code()}

    outcomes = at_once(
        50,
        lambda: outcome(
            ApiClient(crowded, cookies=False).with_token(user.access_token, "POST", "/me/reauthenticate", json=body)
        ),
    )

    statuses = [status for status, _ in outcomes]
    assert statuses.count(200) == 1
    assert statuses.count(OVERLOADED) < 25
    refusals = {(403, "second_factor_wrong"), (401, "token_invalid"), (409, "account_changed")}
    assert {each for each in outcomes if each[0] not in (200, OVERLOADED)} <= refusals
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(1,)]
    assert not user.api.is_signed_in(user.access_token)


def test_sf3_a_used_code_is_refused_for_reauthentication(protected: ProtectedUser) -> None:
    code = protected.unused_code()
    assert protected.second_step(protected.ticket(), totp=code).status_code == 200

    answer = protected.reauthenticate(password=PASSWORD, totp=code)

    assert (answer.status_code, refusal(answer)["code"]) == (403, "second_factor_wrong")


@pytest.mark.parametrize("tickets", [1, 10])
def test_sf5_of_fifty_concurrent_wrong_codes_five_are_evaluated(
    crowded: Flask, ada: int, query: Query, tickets: int, mailbox: Mailbox
) -> None:
    user = enrolled(ApiClient(crowded), ADA, query)
    wrong = user.wrong_code()
    some = [user.ticket() for _ in range(tickets)] * (50 // tickets)
    begun = time.monotonic()

    statuses = at_once(50, lambda: send(crowded, ticket=some.pop(), totp=wrong))

    assert set(statuses) <= {401, OVERLOADED}
    assert statuses.count(401) >= 6
    # The sixth attempt waits one second after the fifth, the next one two seconds, and so on.
    assert 5 <= failures(query) <= 5 + int(math.log2(time.monotonic() - begun + 1))
    subjects = [letter.subject for letter in mailbox.letters_to(ADA)]
    assert sum("Wrong codes" in subject for subject in subjects) == 1


def test_sf5_delays_grow_up_to_a_day_and_a_flush_of_redis_restores_nothing(
    protected: ProtectedUser, query: Query, forget_everything_in_redis: object
) -> None:
    assert callable(forget_everything_in_redis)
    ticket = protected.ticket()
    for number, delay in ((10, 32), (11, 64), (22, 86_400), (99, 86_400)):
        for age, status in ((delay / 2, 401), (delay + 1, 200)):
            forget_everything_in_redis()
            query(
                "UPDATE second_factors SET failures = %s, failed_at = now() - make_interval(secs => %s) RETURNING 1",
                number,
                age,
            )
            answer = protected.second_step(protected.ticket(), totp=protected.unused_code())
            assert answer.status_code == status, (number, delay, age)
            assert failures(query) == (number if status == 401 else 0)
    assert protected.second_step(ticket, totp=protected.wrong_code()).status_code == 401


def test_sf5_after_a_hundred_failures_only_a_recovery_code_helps_and_enables_totp_again(
    protected: ProtectedUser, query: Query
) -> None:
    query("UPDATE second_factors SET failures = 100, failed_at = now() - interval '10 days' RETURNING 1")

    assert protected.second_step(protected.ticket(), totp=protected.unused_code()).status_code == 401
    assert failures(query) == 100
    code = protected.recovery_codes[0]
    assert protected.second_step(protected.ticket(), recovery_code=code).status_code == 200
    assert protected.second_step(protected.ticket(), totp=protected.unused_code()).status_code == 200


def test_sf12_wrong_and_delayed_codes_have_one_body(protected: ProtectedUser, query: Query) -> None:
    ticket = protected.ticket()
    query("UPDATE second_factors SET failures = 6, failed_at = now() - interval '1 hour' RETURNING 1")

    wrong = protected.second_step(ticket, totp=protected.wrong_code())
    delayed = protected.second_step(ticket, totp=protected.unused_code())

    assert failures(query) == 7, "the second one was delayed, and not evaluated"
    assert (wrong.status_code, wrong.get_data()) == (delayed.status_code, delayed.get_data())
    ignored = re.compile("X-Request-Id|Date")
    assert [header for header in wrong.headers if not ignored.match(header[0])] == [
        header for header in delayed.headers if not ignored.match(header[0])
    ]
    assert refusal(delayed)["attempts_left"] == 0


def test_sf15_the_owner_signs_in_by_recovery_code_while_an_attacker_keeps_totp_delayed(
    protected: ProtectedUser, query: Query, mailbox: Mailbox
) -> None:
    for _ in range(8):
        assert protected.second_step(protected.ticket(), totp=protected.wrong_code()).status_code == 401
    query("UPDATE second_factors SET failures = 15, failed_at = now() RETURNING 1")
    assert protected.second_step(protected.ticket(), totp=protected.unused_code()).status_code == 401

    owner = protected.second_step(protected.ticket(), recovery_code=protected.recovery_codes[0])

    assert owner.status_code == 200
    subjects = [letter.subject for letter in mailbox.letters_to(ADA)]
    assert sum("Wrong codes" in subject for subject in subjects) == 1


def test_sf2_the_clock_of_the_database_decides_about_the_time_step(
    protected: ProtectedUser, query: Query, stores: Stores, make_app: MakeApp
) -> None:
    """For an application whose database is an hour behind, as for a worker whose clock is an hour ahead."""
    query("CREATE SCHEMA an_hour_behind")
    query(
        "CREATE FUNCTION an_hour_behind.now() RETURNS timestamptz STABLE LANGUAGE sql"
        " AS $$ SELECT pg_catalog.now() - interval '1 hour' $$"
    )
    behind = make_app(
        database_url=f"{stores.database_url}?options=-csearch_path%3Dan_hour_behind%2Cpg_catalog%2Cpublic"
    )
    user = ProtectedUser(api=ApiClient(behind), email=ADA, app=protected.app, query=query)
    ticket = user.ticket()
    user.unused_code()

    assert user.second_step(ticket, totp=user.code()).status_code == 401
    assert user.second_step(ticket, totp=user.code(-3600 // PERIOD)).status_code == 200
    query("DROP SCHEMA an_hour_behind CASCADE")
