"""Timing side channel: a wrong and a delayed TOTP code cost equal work; `make chaos` measures the time."""

from dataclasses import replace

import pytest
from flask import Flask

from tests.support.second_factor import STEP, ProtectedUser
from tests.support.stores import Query
from tests.support.work import Meter, Work


@pytest.fixture
def meter(app: Flask, query: Query, monkeypatch: pytest.MonkeyPatch) -> Meter:
    return Meter.install(app, query, monkeypatch)


def test_sf12_a_wrong_and_a_delayed_code_cost_equal_statements_round_trips_and_commits(
    meter: Meter, protected: ProtectedUser, query: Query
) -> None:
    ticket, wrong_code = protected.ticket(), protected.wrong_code()

    def attempt(code: str, *, failed: str) -> Work:
        query("UPDATE second_factors SET failures = 7, failed_at = now() - %s::interval RETURNING 1", failed)
        work, answer = meter.of(
            lambda api, _: api.call("POST", STEP, json={"ticket": ticket, "totp": code}), protected.email
        )
        assert answer.status_code == 401
        return work

    attempt(wrong_code, failed="1 hour")  # prepares the statements
    wrong = attempt(wrong_code, failed="1 hour")
    delayed = [attempt(code, failed="0") for code in (wrong_code, protected.unused_code())]

    # The row that counts is locked and returned only if it is written.
    assert [replace(each, rows_read=0) for each in delayed] == [replace(wrong, rows_read=0)] * 2
    assert (wrong.commits, wrong.rows, wrong.hashes) == (1, 1, [])
    assert wrong.postgres > 0
