"""Throttling of sign-ins: per address, for everybody together, and by each process alone while Redis is away."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.adapters.redis.rate_limiter import LocalRateLimiter
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.races import at_once, outcome

ADA = "ada@example.org"
PASSWORD = "correct horse battery"
WRONG = "a wrong password"


@pytest.fixture
def owner(api: ApiClient, mailbox: Mailbox) -> ApiClient:
    """A user on a device that the account knows."""
    api.register(ADA, mailbox, password=PASSWORD)
    api.signed_in(ADA, PASSWORD)
    return api


@pytest.fixture
def besieged(make_app: MakeApp) -> Flask:
    """The same application, where ten failed sign-ins of everybody are the most in an hour."""
    return make_app(limit_failed_sign_ins="10/1h", limit_sign_ins="1000/1m", web_threads=60, database_connections=25)


def moved(owner: ApiClient, app: Flask) -> ApiClient:
    """The same browser, with its cookies, at another application."""
    there = ApiClient(app, address="192.0.2.44")
    for name in ("__Host-device", "device"):
        cookie = owner.client.get_cookie(name)
        if cookie is not None:
            there.client.set_cookie(name, cookie.value, secure=True)
    return there


@pytest.mark.clock
def test_pw12_many_failures_at_many_addresses_stop_strangers_but_no_owner(owner: ApiClient, besieged: Flask) -> None:
    stranger = ApiClient(besieged, address="198.51.100.9")
    codes = [refusal(stranger.sign_in(f"guess{n}@example.org", WRONG))["code"] for n in range(14)]
    assert codes == ["credentials_rejected"] * 10 + ["too_many_attempts"] * 4

    held_up = stranger.sign_in(ADA, PASSWORD)

    assert (held_up.status_code, refusal(held_up)["code"]) == (429, "too_many_attempts")
    assert int(held_up.headers["Retry-After"]) > 3000
    assert moved(owner, besieged).sign_in(ADA, PASSWORD).status_code == 200


def test_rl2_everybodys_limit_is_exact_when_all_come_at_once(owner: ApiClient, besieged: Flask) -> None:
    numbers = iter(range(1000))

    answers = at_once(40, lambda: ApiClient(besieged).sign_in(f"guess{next(numbers)}@example.org", WRONG))

    assert (
        sorted(outcome(answer) for answer in answers)
        == [(401, "credentials_rejected")] * 10 + [(429, "too_many_attempts")] * 30
    )


def test_pw12_who_signs_in_takes_nothing_from_everybody(owner: ApiClient, besieged: Flask) -> None:
    for _ in range(15):
        assert ApiClient(besieged).sign_in(ADA, PASSWORD).status_code == 200
    stranger = ApiClient(besieged, address="198.51.100.9")

    codes = [refusal(stranger.sign_in(f"guess{n}@example.org", WRONG))["code"] for n in range(11)]

    assert codes == ["credentials_rejected"] * 10 + ["too_many_attempts"]


def test_pw12_own_success_gives_nothing_back(owner: ApiClient, app: Flask, lasting_pauses: Callable[[], None]) -> None:
    """As allauth 65.8.1: signing in to an account of one's own between failed attempts allows no further attempts."""
    stranger = ApiClient(app, address="198.51.100.9")
    ApiClient(app)
    codes = []
    for _ in range(7):
        codes.append(refusal(stranger.sign_in("grace@example.org", WRONG))["code"])
        lasting_pauses()
        assert owner.sign_in(ADA, PASSWORD).status_code == 200

    assert codes == ["credentials_rejected"] * 5 + ["too_many_attempts"] * 2


def test_what_one_limit_refuses_is_not_counted_by_the_other(services: Services) -> None:
    throttle = LoginThrottle(
        store=services.redis,
        digests=services.sign_in.throttle.digests,
        free=2,
        first_pause=timedelta(seconds=60),
        longest_pause=timedelta(days=1),
        forget=timedelta(days=2),
        global_limit=[(3, timedelta(hours=1))],
    )

    paused = [throttle.attempt("test", "one").number for _ in range(6)]
    others = [throttle.attempt("test", f"other {n}").number for n in range(3)]

    assert paused == [1, 2, 0, 0, 0, 0]
    assert others == [1, 0, 0], "two and one are three"
    throttle.refund("test", "one", throttle.attempt("test", "nobody", trusted=True))
    assert throttle.attempt("test", "known", trusted=True).number == 1


def test_pw12_a_stolen_device_token_has_one_spelling(owner: ApiClient, app: Flask) -> None:
    """base64 has spare bits: each spelling of one token would have been a device with guesses of its own."""
    cookie = owner.client.get_cookie("device")
    assert cookie is not None
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    codes = []
    for last in range(8):
        thief = ApiClient(app, address="198.51.100.9")
        other = alphabet[(alphabet.index(cookie.value[-1]) & ~7) + last]
        thief.client.set_cookie("device", cookie.value[:-1] + other)
        codes += [refusal(thief.sign_in(ADA, f"{WRONG} {n}"))["code"] for n in range(5)]

    assert codes.count("credentials_rejected") <= 10, "five for the device and five for the address"


@pytest.fixture
def without_redis(make_app: MakeApp) -> Flask:
    """The application while nobody answers at Redis's address."""
    app = make_app(redis_url="redis://127.0.0.1:1/0", limit_sign_ins="59/1m")
    services: Services = app.extensions["auth_service"]
    for limiter in (services.sign_in.throttle.local, services.limiter.local):
        limiter._instants.clear()  # it is shared with other tests
    return app


def test_e08_rl3_without_redis_people_sign_in_and_stay_signed_in(owner: ApiClient, without_redis: Flask) -> None:
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


def test_rl3_without_redis_guessing_is_still_bounded(owner: ApiClient, without_redis: Flask) -> None:
    stranger = ApiClient(without_redis, address="198.51.100.9")

    codes = [refusal(stranger.sign_in(ADA, WRONG))["code"] for _ in range(8)]

    assert codes == ["credentials_rejected"] * 5 + ["too_many_attempts"] * 3
    assert moved(owner, without_redis).sign_in(ADA, PASSWORD).status_code == 200


def test_a_local_limit_gives_back_what_was_right() -> None:
    local = LocalRateLimiter()
    hit: Callable[[], bool] = lambda: local.hit("key", [(2, timedelta(hours=1))]).allowed  # noqa: E731

    assert [hit(), hit(), hit()] == [True, True, False]
    local.refund("key")
    assert [hit(), hit()] == [True, False]
