"""Timing side channel: failed attempts cost equal hashes, round trips and commits; `make chaos` measures the time."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import nacl.pwhash
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.wiring import Services
from tests.support import round_trips, transactions
from tests.support.actors import ApiClient, Mailbox, refusal

PASSWORD = "correct horse battery"
KNOWN, TEMPORARY, WITHOUT, UNKNOWN = (f"{state}@example.org" for state in ("known", "temporary", "without", "unknown"))
ADDRESSES = (KNOWN, TEMPORARY, WITHOUT, UNKNOWN)

Request = Callable[[ApiClient, str], TestResponse]


@dataclass
class Work:
    """The work of one request."""

    hashes: list[dict[str, Any]] = field(default_factory=list)
    """The parameters of each Argon2id call: equal parameters take equal time."""
    redis: int = 0
    """Round trips."""
    postgres: int = 0
    """Round trips."""
    commits: int = 0
    """Transactions with a commit record on disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Meter:
    """Counts the work of requests."""

    app: Flask
    work: list[Work]

    def of(self, request: Request, email: str) -> tuple[Work, TestResponse]:
        """The work of a request for an address, from a separate client and network."""
        api = ApiClient(self.app, address="198.51.100.9")
        self.work.append(work := Work())
        with round_trips.of_this_thread() as trips, transactions.committed(self.app) as committed:
            response = request(api, email)
        work.redis = trips.redis
        work.postgres = trips.postgres - committed.added
        work.commits = len(committed.ids)
        return work, response


@pytest.fixture
def meter(api: ApiClient, app: Flask, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Meter:
    """A meter, and one user of every state."""
    api.register(KNOWN, mailbox, password=PASSWORD)
    ApiClient(app).register(WITHOUT, mailbox)
    ApiClient(app).sign_up(TEMPORARY)
    work = [Work()]
    kdf: Callable[..., bytes] = nacl.pwhash.argon2id.kdf

    def counted_kdf(size: int, password: bytes, salt: bytes, **costs: Any) -> bytes:
        work[-1].hashes.append({"size": size, "salt": len(salt), **costs})
        return kdf(size, password, salt, **costs)

    monkeypatch.setattr(nacl.pwhash.argon2id, "kdf", counted_kdf)
    return Meter(app=app, work=work)


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


def test_en2_pw8_a_failed_attempt_costs_equal_work_for_every_address(meter: Meter) -> None:
    for request in REQUESTS:
        meter.of(request, "warm@example.org")  # prepares the statements and loads the scripts
    for request in REQUESTS:
        costs = {email: meter.of(request, email)[0] for email in ADDRESSES}
        assert all(cost == costs[UNKNOWN] for cost in costs.values()), (request.__name__, costs)
        assert costs[UNKNOWN].postgres > 0
        assert costs[UNKNOWN].commits == 1, request.__name__
    assert len(meter.of(sign_in, UNKNOWN)[0].hashes) == 1


def test_en2_a_failed_attempt_costs_equal_work_beyond_the_daily_caps(
    meter: Meter, make_app: Callable[..., Flask], forget_everything_in_redis: Callable[[], None]
) -> None:
    app = make_app(limit_codes_per_network="1000/1d", limit_codes_reserved=0, history_failures_a_day=1)
    exhausted = Meter(app=app, work=meter.work)
    for _ in range(11):
        for email in ADDRESSES:
            exhausted.of(send_sign_in_code, email)
    forget_everything_in_redis()  # PostgreSQL counts the ten codes of a day too
    for request in REQUESTS:
        exhausted.of(request, "warm@example.org")
        costs = {email: exhausted.of(request, email)[0] for email in ADDRESSES}
        assert all(cost == costs[UNKNOWN] for cost in costs.values()), (request.__name__, costs)
        assert costs[UNKNOWN].commits == 1, request.__name__


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
