"""Throttling of sign-ins: per address, by the global limit, and per process while Redis is unavailable."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask

from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.adapters.redis.rate_limiter import LocalRateLimiter
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.crowds import patient_hashing
from tests.support.races import at_once, outcome

pytestmark = pytest.mark.slow

ADA = "ada@example.org"
PASSWORD = "correct horse battery"
WRONG = "a wrong password"


@pytest.fixture
def owner(api: ApiClient, mailbox: Mailbox) -> ApiClient:
    """A user on a known device."""
    api.register(ADA, mailbox, password=PASSWORD)
    api.signed_in(ADA, PASSWORD)
    return api


@pytest.fixture
def besieged(make_app: MakeApp) -> Iterator[Flask]:
    """The application with a global limit of ten failed sign-ins an hour."""
    with patient_hashing(
        make_app(limit_failed_sign_ins="10/1h", limit_sign_ins="1000/1m", web_threads=60, database_connections=25)
    ) as app:
        yield app


def on_same_device(owner: ApiClient, app: Flask) -> ApiClient:
    """A client of another application with the device cookies of this one."""
    there = ApiClient(app, address="192.0.2.44")
    for name in ("__Host-device", "device"):
        cookie = owner.client.get_cookie(name)
        if cookie is not None:
            there.client.set_cookie(name, cookie.value, secure=True)
    return there


@pytest.mark.clock
def test_pw12_the_global_limit_of_failed_sign_ins_does_not_affect_a_known_device(
    owner: ApiClient, besieged: Flask
) -> None:
    attacker = ApiClient(besieged, address="198.51.100.9")
    codes = [refusal(attacker.sign_in(f"guess{n}@example.org", WRONG))["code"] for n in range(14)]
    assert codes == ["credentials_rejected"] * 10 + ["too_many_attempts"] * 4

    throttled = attacker.sign_in(ADA, PASSWORD)

    assert (throttled.status_code, refusal(throttled)["code"]) == (429, "too_many_attempts")
    assert int(throttled.headers["Retry-After"]) > 3000
    assert on_same_device(owner, besieged).sign_in(ADA, PASSWORD).status_code == 200


def test_rl2_the_global_limit_is_exact_under_concurrency(owner: ApiClient, besieged: Flask) -> None:
    numbers = iter(range(1000))

    answers = at_once(40, lambda: ApiClient(besieged).sign_in(f"guess{next(numbers)}@example.org", WRONG))

    assert (
        sorted(outcome(answer) for answer in answers)
        == [(401, "credentials_rejected")] * 10 + [(429, "too_many_attempts")] * 30
    )


def test_pw12_successful_sign_ins_do_not_count_against_the_global_limit(owner: ApiClient, besieged: Flask) -> None:
    for _ in range(15):
        assert ApiClient(besieged).sign_in(ADA, PASSWORD).status_code == 200
    attacker = ApiClient(besieged, address="198.51.100.9")

    codes = [refusal(attacker.sign_in(f"guess{n}@example.org", WRONG))["code"] for n in range(11)]

    assert codes == ["credentials_rejected"] * 10 + ["too_many_attempts"]


def test_pw12_a_sign_in_to_another_account_refunds_no_failed_attempt(
    owner: ApiClient, app: Flask, lasting_pauses: Callable[[], None]
) -> None:
    """As in django-allauth 65.8.1: a sign-in to another account between failed attempts allows no further attempts."""
    attacker = ApiClient(app, address="198.51.100.9")
    ApiClient(app)
    codes = []
    for _ in range(7):
        codes.append(refusal(attacker.sign_in("grace@example.org", WRONG))["code"])
        lasting_pauses()
        assert owner.sign_in(ADA, PASSWORD).status_code == 200

    assert codes == ["credentials_rejected"] * 5 + ["too_many_attempts"] * 2


def test_an_attempt_rejected_by_one_limit_is_not_counted_by_the_other(services: Services) -> None:
    throttle = LoginThrottle(
        store=services.redis,
        digests=services.sign_in.throttle.digests,
        free=2,
        first_pause=timedelta(seconds=60),
        longest_pause=timedelta(days=1),
        forget=timedelta(days=2),
        global_limit=[(3, timedelta(hours=1))],
    )

    same_address = [throttle.attempt("test", "one").number for _ in range(6)]
    other_addresses = [throttle.attempt("test", f"other {n}").number for n in range(3)]

    assert same_address == [1, 2, 0, 0, 0, 0]
    assert other_addresses == [1, 0, 0], "two attempts and one reach the global limit of three"
    throttle.refund("test", "one", throttle.attempt("test", "unknown", known_device=True))
    assert throttle.attempt("test", "known", known_device=True).number == 1


def test_pw12_a_stolen_device_token_has_one_spelling(
    owner: ApiClient, app: Flask, lasting_pauses: Callable[[], None]
) -> None:
    """base64 has spare bits: another spelling of a token must not count as another device with its own attempts."""
    cookie = owner.client.get_cookie("device")
    assert cookie is not None
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    codes = []
    for last in range(8):
        attacker = ApiClient(app, address="198.51.100.9")
        other = alphabet[(alphabet.index(cookie.value[-1]) & ~7) + last]
        attacker.client.set_cookie("device", cookie.value[:-1] + other)
        for number in range(5):
            codes.append(refusal(attacker.sign_in(ADA, f"{WRONG} {number}"))["code"])
            lasting_pauses()

    assert codes.count("credentials_rejected") <= 10, "five for the device and five for the address"


@pytest.fixture
def without_redis(make_app: MakeApp) -> Flask:
    """The application while Redis does not answer."""
    app = make_app(redis_url="redis://127.0.0.1:1/0", limit_sign_ins="59/1m")
    services: Services = app.extensions["auth_service"]
    for limiter in (services.sign_in.throttle.local, services.limiter.local):
        limiter._instants.clear()  # it is shared with other tests
    return app


def test_e08_rl3_without_redis_users_sign_in_and_stay_signed_in(owner: ApiClient, without_redis: Flask) -> None:
    api = ApiClient(without_redis)
    for _ in range(8):
        tokens = api.signed_in(ADA, PASSWORD)

    assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 200
    refreshed = api.refresh(tokens["refresh_token"])
    assert refreshed.status_code == 200
    assert without_redis.test_client().get("/.well-known/jwks.json").status_code == 200
    token = refreshed.get_json()["data"]["access_token"]
    assert api.with_token(token, "POST", "/sign_out").status_code == 200
    assert api.with_token(token, "GET", "/me").status_code == 401


def test_rl3_without_redis_failed_sign_ins_are_still_throttled(owner: ApiClient, without_redis: Flask) -> None:
    attacker = ApiClient(without_redis, address="198.51.100.9")

    codes = [refusal(attacker.sign_in(ADA, WRONG))["code"] for _ in range(8)]

    assert codes == ["credentials_rejected"] * 5 + ["too_many_attempts"] * 3
    assert on_same_device(owner, without_redis).sign_in(ADA, PASSWORD).status_code == 200


def test_a_local_limit_refunds_an_attempt() -> None:
    local = LocalRateLimiter()
    hit: Callable[[], bool] = lambda: local.hit("key", [(2, timedelta(hours=1))]).allowed  # noqa: E731

    assert [hit(), hit(), hit()] == [True, True, False]
    local.refund("key")
    assert [hit(), hit()] == [True, False]
