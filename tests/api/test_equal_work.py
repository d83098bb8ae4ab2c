"""Timing side channel: failed attempts cost equal hashes, round trips and commits; `make chaos` measures the time."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.models.audit_event import FAILURE_SLOTS
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.stores import Query
from tests.support.work import Meter, Request, Work

PASSWORD = "correct horse battery"
ADDRESSES = KNOWN, TEMPORARY, WITHOUT, BANNED, UNKNOWN = tuple(
    f"{state}@example.org" for state in ("known", "temporary", "without", "banned", "unknown")
)


@pytest.fixture
def meter(api: ApiClient, app: Flask, mailbox: Mailbox, query: Query, monkeypatch: pytest.MonkeyPatch) -> Meter:
    """A meter, and one user of every state."""
    api.register(KNOWN, mailbox, password=PASSWORD)
    ApiClient(app).register(WITHOUT, mailbox)
    ApiClient(app).sign_up(TEMPORARY)
    ApiClient(app).register(BANNED, mailbox, password=PASSWORD)
    query(
        "UPDATE users SET banned_until = 'infinity', banned_at = now(), ban_reason = repeat('x', 500) WHERE email = %s",
        BANNED,
    )
    return Meter.install(app, query, monkeypatch)


def sign_in(api: ApiClient, email: str) -> TestResponse:
    return api.sign_in(email, "a wrong password")


def send_sign_in_code(api: ApiClient, email: str) -> TestResponse:
    return api.call("POST", "/sign_in/send_code", json={"email": email})


def try_sign_in_code(api: ApiClient, email: str) -> TestResponse:
    return api.call("POST", "/sign_in/code", json={"email": email, "code": "0000"})


def send_reset_code(api: ApiClient, email: str) -> TestResponse:
    return api.call("POST", "/password/send_code", json={"email": email})


def try_reset_code(api: ApiClient, email: str) -> TestResponse:
    return api.call("PUT", "/password", json={"email": email, "code": "0000", "new_password": "another long one"})


REQUESTS: list[Request] = [
    sign_in,
    try_sign_in_code,
    try_reset_code,
    send_sign_in_code,
    try_sign_in_code,
    send_reset_code,
    try_reset_code,
]
"""Failed attempts before and after a client, not necessarily the owner, has requested a code."""


def assert_equal(request: Request, costs: dict[str, Work]) -> None:
    """Every address costs the same work as an unknown one."""
    if request in (send_sign_in_code, send_reset_code):
        # An email to an unknown address is added and deleted: other statements take the place of the foreign key check.
        costs = {email: replace(cost, statements=[]) for email, cost in costs.items()}
    assert all(cost == costs[UNKNOWN] for cost in costs.values()), (request.__name__, costs)


def test_en2_pw8_ad4_a_failed_attempt_costs_equal_work_for_every_address(meter: Meter) -> None:
    for request in REQUESTS:
        meter.of(request, "warm@example.org")  # prepares the statements and loads the scripts
    for request in REQUESTS:
        costs = {email: meter.of(request, email)[0] for email in ADDRESSES}
        assert_equal(request, costs)
        assert costs[UNKNOWN].postgres > 0
        assert costs[UNKNOWN].commits == 1, request.__name__
    assert len(meter.of(sign_in, UNKNOWN)[0].hashes) == 1


def test_en2_a_failed_attempt_costs_equal_work_beyond_the_daily_caps(
    meter: Meter, make_app: Callable[..., Flask], forget_everything_in_redis: Callable[[], None]
) -> None:
    app = make_app(limit_codes_per_network="1000/1d", limit_codes_reserved=0, history_failures_a_day=1)
    exhausted = replace(meter, app=app)
    for _ in range(10):
        for email in ADDRESSES:
            exhausted.of(send_sign_in_code, email)
    forget_everything_in_redis()  # PostgreSQL counts the ten codes of a day too
    for request in REQUESTS:
        exhausted.of(request, "warm@example.org")
        costs = {email: exhausted.of(request, email)[0] for email in ADDRESSES}
        assert_equal(request, costs)
        assert costs[UNKNOWN].commits == 1, request.__name__


@pytest.mark.slow
@pytest.mark.parametrize("has_requested_codes", [False, True])
def test_en2_repeated_failed_attempts_cost_equal_work_below_and_beyond_the_cap_of_the_audit_log(
    meter: Meter, make_app: Callable[..., Flask], has_requested_codes: bool
) -> None:
    """The cap of a known address is its own; all unknown addresses share one, which is reached much earlier."""
    app = make_app(history_failures_a_day=3, sign_in_free_attempts=64, limit_sign_ins="1000/1m")
    repeated = replace(meter, app=app)
    addresses = (*ADDRESSES, *(f"unknown-{number}@example.org" for number in range(3)))
    for request in (send_sign_in_code, send_reset_code):
        for email in addresses if has_requested_codes else ():
            repeated.of(request, email)
    for _ in range(20):  # opens every connection to Redis
        repeated.of(try_sign_in_code, "warm@example.org")
    for request in (sign_in, try_sign_in_code, try_reset_code):
        repeated.of(request, "warm@example.org")
        costs = [repeated.of(request, email)[0] for _ in range(6) for email in addresses]
        # The five unbound attempts of a code end, for all addresses alike: another script answers.
        rounds = [costs[number : number + len(addresses)] for number in range(0, len(costs), len(addresses))]
        for each in rounds:
            assert each == [each[0]] * len(addresses), request.__name__
        for cost in costs:
            assert (cost.rows, cost.commits) == (1, 1), request.__name__
            assert cost.rows_read == costs[0].rows_read > 0
            assert (cost.statements, cost.scripts) == (costs[0].statements, costs[0].scripts)
    recorded = meter.query("SELECT coalesce(user_id, 0), count(*) FROM events WHERE outcome = 'failure' GROUP BY 1")
    assert [count for _, count in recorded] == [3] * 5, "three of each user, and three of all unknown addresses"


def test_en2_a_slot_has_as_many_indexes_as_an_event(meter: Meter) -> None:
    """A row in place of an event costs the same only if it is written to as many indexes."""
    [(of_event,), (of_slot,)] = meter.query(
        "SELECT count(*) FROM pg_index WHERE indrelid IN ('events_default'::regclass, 'failure_slots'::regclass)"
        # A failed attempt of an anonymous client has neither actor nor target.
        " AND pg_get_expr(indpred, indrelid) IS DISTINCT FROM '(actor_id IS NOT NULL)'"
        " AND pg_get_expr(indpred, indrelid) IS DISTINCT FROM '(target_id IS NOT NULL)'"
        " GROUP BY indrelid"
    )

    assert of_event == of_slot


def test_en2_the_slots_are_bounded_and_reveal_nothing(meter: Meter, make_app: Callable[..., Flask]) -> None:
    app = make_app(history_failures_a_day=1)
    for number in range(5):
        ApiClient(app, address="198.51.100.9").sign_in(f"unknown-{number}@example.org", "a wrong password")

    rows = meter.query("SELECT slot, filling FROM failure_slots")

    assert 1 <= len(rows) <= 4
    assert all(0 <= slot < FAILURE_SLOTS and set(filling) == {"x"} for slot, filling in rows)


def test_cd3_beyond_the_daily_cap_even_the_right_code_is_rejected(
    meter: Meter,
    make_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    forget_everything_in_redis: Callable[[], None],
) -> None:
    app = make_app(limit_codes_a_day=1)
    attacker = ApiClient(app, address="198.51.100.9")
    services: Services = app.extensions["auth_service"]
    codes = replace(services.sign_in.codes, draw=lambda: "750505")  # the code that the attacker submits
    drawing = replace(services, sign_in=replace(services.sign_in, codes=codes))
    monkeypatch.setitem(app.extensions, "auth_service", drawing)

    for _ in range(3):
        forget_everything_in_redis()
        assert send_sign_in_code(attacker, KNOWN).status_code == 200
    attempt = attacker.call("POST", "/sign_in/code", json={"email": KNOWN, "code": "750505"})

    assert (attempt.status_code, refusal(attempt)["code"]) == (401, "credentials_rejected")
