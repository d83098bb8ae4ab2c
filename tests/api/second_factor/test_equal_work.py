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


def comparable(work: Work) -> Work:
    """The work of an attempt, without what does not depend on the code.

    Every two seconds a request reads the signing keys again. The row that counts is returned only if it is written.
    """
    statements = [each for each in work.statements if not each.startswith("SELECT signing_keys.")]
    key_reads = len(work.statements) - len(statements)
    return replace(work, statements=statements, postgres=work.postgres - key_reads, rows_read=0)


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
        return comparable(work)

    attempt(wrong_code, failed="1 hour")  # prepares the statements
    wrong = attempt(wrong_code, failed="1 hour")
    delayed = [attempt(code, failed="0") for code in (wrong_code, protected.unused_code())]

    assert delayed == [wrong] * 2
    assert (wrong.commits, wrong.rows, wrong.hashes) == (1, 1, [])
    assert wrong.postgres > 0
