"""The same work for everybody who is refused, counted; how long it takes is measured by `make chaos`."""

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
KNOWN, TEMPORARY, WITHOUT, UNKNOWN = (f"{who}@example.org" for who in ("known", "temporary", "without", "unknown"))
EVERYBODY = (KNOWN, TEMPORARY, WITHOUT, UNKNOWN)

Request = Callable[[ApiClient, str], TestResponse]


@dataclass
class Work:
    """What an answer cost."""

    hashes: list[dict[str, Any]] = field(default_factory=list)
    """What each asked of the library: the same costs take the same time."""
    redis: int = 0
    """Round trips."""
    postgres: int = 0
    """Round trips."""
    written: int = 0
    """Transactions that were written to disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Meter:
    """Counts work."""

    app: Flask
    work: list[Work]

    def of(self, request: Request, email: str) -> tuple[Work, TestResponse]:
        """The work of a request about a user, from a browser and a network of its own."""
        api = ApiClient(self.app, address="198.51.100.9")
        self.work.append(work := Work())
        with round_trips.of_this_thread() as trips, transactions.committed(self.app) as committed:
            answer = request(api, email)
        work.redis = trips.redis
        work.postgres = trips.postgres - committed.added
        work.written = len(committed.ids)
        return work, answer


@pytest.fixture
def meter(api: ApiClient, app: Flask, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Meter:
    """A meter, and people of every kind."""
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


def guess_sign_in_code(api: ApiClient, email: str) -> TestResponse:
    return api.call("POST", "/sign_in/code", json={"email": email, "code": "0000"})


def send_recovery_code(api: ApiClient, email: str) -> TestResponse:
    return api.call("POST", "/password/send_code", json={"email": email})


def guess_recovery_code(api: ApiClient, email: str) -> TestResponse:
    return api.call("PUT", "/password", json={"email": email, "code": "0000", "new_password": "another long one"})


REQUESTS: list[Request] = [
    sign_in,
    guess_sign_in_code,
    guess_recovery_code,
    send_sign_in_code,
    guess_sign_in_code,
    send_recovery_code,
    guess_recovery_code,
]
"""Failed attempts before and after a client, not necessarily the owner, has requested a code."""


def test_en2_pw8_everybody_who_is_refused_costs_the_same(meter: Meter) -> None:
    for request in REQUESTS:
        meter.of(request, "warm@example.org")  # statements are prepared, scripts are known
    for request in REQUESTS:
        costs = {email: meter.of(request, email)[0] for email in EVERYBODY}
        assert all(cost == costs[UNKNOWN] for cost in costs.values()), (request.__name__, costs)
        assert costs[UNKNOWN].postgres > 0
        assert costs[UNKNOWN].written == 1, request.__name__
    assert len(meter.of(sign_in, UNKNOWN)[0].hashes) == 1


def test_en2_beyond_what_is_mailed_and_written_down_in_a_day_too(meter: Meter, make_app: Callable[..., Flask]) -> None:
    app = make_app(limit_codes="1000/1m", limit_codes_per_network="1000/1d", history_failures_a_day=1)
    worn = Meter(app=app, work=meter.work)
    for _ in range(11):
        for email in EVERYBODY:
            worn.of(send_sign_in_code, email)
    for request in REQUESTS:
        worn.of(request, "warm@example.org")
        costs = {email: worn.of(request, email)[0] for email in EVERYBODY}
        assert all(cost == costs[UNKNOWN] for cost in costs.values()), (request.__name__, costs)
        assert costs[UNKNOWN].written == 1, request.__name__


def test_cd3_beyond_the_daily_cap_there_is_nothing_to_guess(
    meter: Meter, make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(limit_codes="1000/1m", limit_codes_per_network="1000/1d", limit_codes_a_day=1)
    stranger = ApiClient(app, address="198.51.100.9")
    services: Services = app.extensions["auth_service"]
    codes = replace(services.sign_in.codes, draw=lambda: "750505")  # the best guess that there is
    drawing = replace(services, sign_in=replace(services.sign_in, codes=codes))
    monkeypatch.setitem(app.extensions, "auth_service", drawing)

    for _ in range(2):
        assert send_sign_in_code(stranger, KNOWN).status_code == 200
    guess = stranger.call("POST", "/sign_in/code", json={"email": KNOWN, "code": "750505"})

    assert (guess.status_code, refusal(guess)["code"]) == (401, "credentials_rejected")
