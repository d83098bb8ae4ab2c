"""Races: fifty concurrent requests, with threads and committed data on real PostgreSQL and Valkey."""

from collections import Counter
from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ApiClient
from tests.support.races import at_once, outcome, together
from tests.support.stores import Query

pytestmark = pytest.mark.slow

ADA = "ada@example.org"


def test_cd8_fifty_concurrent_sign_ups_create_one_user(crowded: Flask) -> None:
    answers = at_once(50, lambda: ApiClient(crowded).try_to_sign_up(ADA))

    assert Counter(map(outcome, answers)) == {(201, ""): 1, (409, "email_taken"): 49}


def test_cd2_of_fifty_concurrent_right_codes_one_succeeds(crowded: Flask) -> None:
    ada = ApiClient(crowded).sign_up(ADA)
    ApiClient(crowded).ask_for_code(ada, 7505)

    answers = at_once(50, lambda: ApiClient(crowded).confirm(ada, 7505))

    assert Counter(map(outcome, answers)) == {(200, ""): 1, (404, "code_expired"): 49}


def test_cd3_of_a_hundred_concurrent_wrong_codes_exactly_five_are_checked(crowded: Flask) -> None:
    ada = ApiClient(crowded).sign_up(ADA)
    ApiClient(crowded).ask_for_code(ada, 7505)

    answers = at_once(100, lambda: ApiClient(crowded).confirm(ada, 1111))

    assert Counter(map(outcome, answers)) == {(404, "code_wrong"): 5, (404, "code_expired"): 95}
    assert outcome(ApiClient(crowded).confirm(ada, 7505)) == (404, "code_expired")


def test_fifty_concurrent_finish_requests_return_one_result(crowded: Flask) -> None:
    ada = ApiClient(crowded).sign_up(ADA)
    ApiClient(crowded).ask_for_code(ada, 7505)
    ApiClient(crowded).confirm(ada, 7505)

    answers = at_once(50, lambda: ApiClient(crowded).finish(ada))

    assert {outcome(answer) for answer in answers} == {(200, "")}
    assert len({answer.text for answer in answers}) == 1


def test_rl2_a_limit_is_exact_under_concurrency(make_app: Any) -> None:
    app = make_app(web_threads=60, database_connections=25, limit_look_ups="7/1m")

    answers = at_once(50, lambda: ApiClient(app).look_up(ADA))

    assert Counter(map(outcome, answers)) == {(404, "user_unknown"): 7, (429, "too_many_requests"): 43}


def test_a1_of_two_concurrent_passwords_one_is_set_and_the_other_attempt_is_recorded(
    crowded: Flask, query: Query
) -> None:
    ada = ApiClient(crowded).sign_up(ADA)
    ApiClient(crowded).ask_for_code(ada, 7505)
    ApiClient(crowded).confirm(ada, 7505)

    first, second = "correct horse battery", "analytical engines hum"
    answers = together(
        lambda: ApiClient(crowded).finish(ada, password=first), lambda: ApiClient(crowded).finish(ada, password=second)
    )

    assert sorted(map(outcome, answers)) == [(200, ""), (409, "password_already_set")]
    recorded = query("SELECT count(*) FROM events WHERE kind = 'password_refused' AND user_id = %s", ada)
    assert recorded == [(1,)]
    winner, loser = (first, second) if answers[0].status_code == 200 else (second, first)
    assert ApiClient(crowded).sign_in(ADA, winner).status_code == 200
    assert ApiClient(crowded).sign_in(ADA, loser).status_code == 401
