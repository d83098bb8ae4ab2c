"""Round trips to PostgreSQL and Redis: each request costs what the table in docs/architecture.md documents."""

from pathlib import Path

import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.accounts import Accounts
from tests.support.actors import Mailbox
from tests.support.application import MakeApp
from tests.support.round_trips_second_factor import CASES, SIGN_IN, STEP
from tests.support.round_trips_table import COMMAND, SETTINGS, TIMES, documented, endpoints, line, measured


@pytest.fixture
def measured_app(make_app: MakeApp) -> Flask:
    """The application of the table."""
    return make_app(**SETTINGS)


def test_every_endpoint_has_a_request_and_every_request_a_row(measured_app: Flask) -> None:
    missing = set(endpoints(measured_app)) ^ {case.endpoint for case in CASES}

    assert not missing, f"add or remove the requests in tests/support/round_trips_cases.py, then run `{COMMAND}`"
    assert list(documented()) == [(case.endpoint, case.case) for case in CASES], f"run `{COMMAND}`"


def test_a_second_step_makes_at_most_two_more_round_trips_than_a_sign_in() -> None:
    rows = documented()
    sign_in, step = rows[SIGN_IN, "known device"], rows[STEP, "TOTP"]

    assert step.postgres <= sign_in.postgres + 2
    assert step.postgres + step.redis <= sign_in.postgres + sign_in.redis + 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_request_has_the_documented_round_trips(measured_app: Flask, tmp_path: Path) -> None:
    accounts = Accounts(measured_app, Mailbox(measured_app, DevInbox(tmp_path)))
    rows = documented()
    changed = []
    for case in CASES:
        key = case.endpoint, case.case
        round_trips = measured(case, accounts)
        if round_trips != rows.get(key):
            round_trips = measured(case, accounts, times=TIMES)
        if round_trips != rows.get(key):
            changed.append(line(key, round_trips))

    assert not changed, "\n".join(["These are not the rows of docs/architecture.md:", *changed, f"Run `{COMMAND}`."])
