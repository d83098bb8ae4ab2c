"""Races of second steps on two workers: fifty concurrent requests to gunicorn with two processes open one session."""

from collections import Counter

import pytest
from flask import Flask

from tests.support.actors import ADA, ApiClient
from tests.support.live import Live
from tests.support.races import at_once
from tests.support.second_factor import STEP, enrolled
from tests.support.stores import Query

pytestmark = pytest.mark.slow

FIFTY = 50


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
@pytest.mark.parametrize("tickets", [1, 2])
def test_sf3_sf8_one_code_opens_one_session_on_two_workers(
    live: Live, app: Flask, ada: int, query: Query, method: str, tickets: int
) -> None:
    live.wait_for_workers(2)
    user = enrolled(ApiClient(app), ADA, query)
    code = user.unused_code() if method == "totp" else user.recovery_codes[0]
    bodies = [{"ticket": ticket, method: code} for ticket in [user.ticket() for _ in range(tickets)]] * FIFTY
    before = query("SELECT count(*) FROM sessions")[0][0]

    answers = at_once(FIFTY, lambda: live.call("POST", f"/users{STEP}", headers={}, body=bodies.pop()))

    outcomes = Counter(answer.outcome for answer in answers)
    assert outcomes.pop((200, "")) == 1
    assert set(outcomes) <= {(401, "second_step_expired"), (401, "second_factor_rejected")}
    assert query("SELECT count(*) FROM sessions")[0][0] == before + 1
