"""Timing side channel (EN2): response times do not reveal an account; `tests/api/test_equal_work.py` counts work."""

import json
import math
import time
from statistics import median

import pytest
from flask import Flask

from tests.support.actors import ADA, USERS, ApiClient, Mailbox
from tests.support.live import Live
from tests.support.second_factor import STEP, enrolled
from tests.support.stores import Query

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

SAMPLES = 500
ADDRESSES = 250
"""The known and the unknown addresses, used in turn as in user enumeration, since each has a limit of codes."""
SAMPLES_PER_ROUND = 50
"""After each round the audit log is emptied, so that no address reaches the daily limit of recorded failures."""
KNOWN, UNKNOWN = ([f"{prefix}-{number:02}@example.org" for number in range(ADDRESSES)] for prefix in ("known", "never"))
PASSWORD = "correct horse battery"

REQUESTS = {
    "sign_in": ("POST", "/sign_in", {"password": "a wrong password"}),
    "sign_in/send_code": ("POST", "/sign_in/send_code", {}),
    "sign_in/code": ("POST", "/sign_in/code", {"code": "0000"}),
    "password/send_code": ("POST", "/password/send_code", {}),
    "password": ("PUT", "/password", {"code": "0000", "new_password": "another long one"}),
}


def kolmogorov_smirnov(one: list[float], other: list[float]) -> float:
    """The two-sample Kolmogorov-Smirnov test: the two-sided asymptotic p-value."""
    both = sorted([(value, 1 / len(one)) for value in one] + [(value, -1 / len(other)) for value in other])
    gap = height = 0.0
    for number, (value, step) in enumerate(both):
        height += step
        if number + 1 == len(both) or both[number + 1][0] != value:
            gap = max(gap, abs(height))
    n = math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    x = (n + 0.12 + 0.11 / n) * gap
    if x < 0.2:  # the series does not converge here; the value is 1 to twelve digits
        return 1.0
    tail: float = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, tail))


def test_the_statistical_test_distinguishes_equal_from_shifted_samples() -> None:
    assert kolmogorov_smirnov([float(n % 97) for n in range(500)], [float(n % 97) for n in range(500)]) > 0.99
    assert kolmogorov_smirnov([float(n) for n in range(500)], [float(n + 100) for n in range(500)]) < 0.001


@pytest.mark.parametrize(
    ("name", "is_banned"), [*((name, False) for name in REQUESTS), pytest.param("sign_in", True, id="ad4-sign_in")]
)
def test_en2_ad4_the_time_of_a_response_reveals_neither_an_account_nor_a_ban(
    name: str,
    is_banned: bool,
    live: Live,
    app: Flask,
    mailbox: Mailbox,
    query: Query,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, email in enumerate(KNOWN):
        ApiClient(app, address=f"198.51.100.{number}").register(email, mailbox, password=PASSWORD)
    if is_banned:
        query("UPDATE users SET banned_until = 'infinity', banned_at = now(), ban_reason = repeat('x', 500)")
    method, path, body = REQUESTS[name]

    def seconds(email: str) -> float:
        raw = json.dumps({"email": email, **body}).encode()
        began = time.perf_counter()
        response = live.request(method, f"{USERS}{path}", "Content-Type: application/json", body=raw, within=60)
        assert response.status in (200, 401, 404), response.body
        return time.perf_counter() - began

    for email in KNOWN[:10] + UNKNOWN[:10]:
        seconds(email)
    known_samples: list[float] = []
    unknown_samples: list[float] = []
    for number in range(SAMPLES):
        if number % SAMPLES_PER_ROUND == 0:
            query("TRUNCATE events")
        # Alternate the order, so that other load on the machine affects both kinds equally.
        pair = (KNOWN[number % ADDRESSES], known_samples), (UNKNOWN[number % ADDRESSES], unknown_samples)
        for email, samples in pair if number % 2 else reversed(pair):
            samples.append(seconds(email))

    with capsys.disabled():
        compare(f"{name}, banned" if is_banned else name, known=known_samples, unknown=unknown_samples)


def compare(case: str, **samples: list[float]) -> None:
    """Print the medians of two kinds of samples, and check that they do not differ."""
    (one, ones), (other, others) = samples.items()
    p = kolmogorov_smirnov(ones, others)
    print(f"\n{case}: {median(ones) * 1000:.2f} ms {one}, {median(others) * 1000:.2f} ms {other}, p = {p:.2g}")
    assert abs(median(ones) - median(others)) < max(0.05 * median(ones), 0.002)
    assert p > 0.01


def test_sf12_en2_the_time_of_a_response_does_not_reveal_that_a_code_of_the_second_factor_was_delayed(
    live: Live, api: ApiClient, ada: int, query: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    user = enrolled(api, ADA, query)

    def seconds(*, failed: str, body: bytes) -> float:
        query("UPDATE second_factors SET failures = 20, failed_at = now() - %s::interval RETURNING 1", failed)
        began = time.perf_counter()
        response = live.request("POST", f"{USERS}{STEP}", "Content-Type: application/json", body=body, within=60)
        assert response.status == 401, response.body
        return time.perf_counter() - began

    wrong: list[float] = []
    delayed: list[float] = []
    for number in range(SAMPLES):
        if number % SAMPLES_PER_ROUND == 0:
            query("TRUNCATE events")
            body = json.dumps({"ticket": user.ticket(), "totp": user.wrong_code()}).encode()
        pair = ("1 day", wrong), ("0", delayed)
        for failed, samples in pair if number % 2 else reversed(pair):
            samples.append(seconds(failed=failed, body=body))

    with capsys.disabled():
        compare("sign_in/second_step", wrong=wrong, delayed=delayed)
