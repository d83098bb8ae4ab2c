"""Login throttle: pauses, and the reserved attempts of networks that have not failed for the address."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import redis

from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import RedisClient
from auth_service.adapters.redis.login_throttle import MOST_NETWORKS, LoginThrottle
from tests.support.application import MakeApp
from tests.support.passing_time import time_machine
from tests.support.races import at_once
from tests.support.stores import Stores

ADA = "address ada@example.org"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def throttle(stores: Stores, make_app: MakeApp) -> LoginThrottle:
    """A throttle whose pauses last longer than a test; Redis is emptied after the test because of `make_app`."""
    return LoginThrottle(
        store=RedisClient(url=stores.redis_url, connections=10),
        digests=Digests("a secret of the tests", purpose="throttles"),
        free=3,
        first_pause=HOUR,
        longest_pause=DAY,
        forget=2 * DAY,
        reserved=5,
    )


@pytest.fixture
def pass_time(stores: Stores) -> Callable[[timedelta], None]:
    """Lets time pass for everything that was counted."""
    return time_machine(stores)


def fails(throttle: LoginThrottle, network: str) -> bool:
    """Fail once from a network; whether the attempt was admitted."""
    return not throttle.attempt("sign_in", ADA, network=network).wait


def succeeds(throttle: LoginThrottle, network: str) -> bool:
    """Send the right password from a network; whether the attempt was admitted."""
    attempt = throttle.attempt("sign_in", ADA, network=network)
    if not attempt.wait:
        throttle.refund("sign_in", ADA, attempt)
    return not attempt.wait


def test_during_a_pause_a_network_that_has_not_failed_gets_one_attempt(throttle: LoginThrottle) -> None:
    assert [fails(throttle, "attacker") for _ in range(6)] == [True] * 3 + [False] * 3

    assert [fails(throttle, "owner") for _ in range(3)] == [True, False, False]
    assert not fails(throttle, "attacker")


def test_a_success_uses_up_nothing(throttle: LoginThrottle) -> None:
    for _ in range(3):
        fails(throttle, "attacker")

    assert all(succeeds(throttle, "owner") for _ in range(20))
    assert not succeeds(throttle, "attacker"), "a network that has failed waits, with the right password too"
    assert [fails(throttle, f"network {number}") for number in range(7)] == [True] * 5 + [False] * 2


def test_all_networks_together_get_a_limited_number_of_attempts_a_day(
    throttle: LoginThrottle, pass_time: Callable[[timedelta], None]
) -> None:
    for _ in range(3):
        fails(throttle, "attacker")
    assert [fails(throttle, f"network {number}") for number in range(8)] == [True] * 5 + [False] * 3

    pass_time(2 * HOUR)
    assert fails(throttle, "attacker"), "the pause has ended"
    assert not fails(throttle, "network 6")
    pass_time(23 * HOUR)
    fails(throttle, "attacker")
    assert [fails(throttle, f"network {number}") for number in range(8)] == [True] * 5 + [False] * 3


def test_a_network_that_failed_without_a_pause_has_no_reserved_attempt_for_a_day(
    throttle: LoginThrottle, pass_time: Callable[[timedelta], None]
) -> None:
    assert fails(throttle, "owner")
    pass_time(DAY - HOUR)
    for _ in range(2):
        fails(throttle, "attacker")

    assert not succeeds(throttle, "owner")
    pass_time(HOUR - timedelta(minutes=1))
    assert not succeeds(throttle, "owner")
    pass_time(timedelta(minutes=1))
    fails(throttle, "attacker")
    assert succeeds(throttle, "owner")


def test_a_reserved_attempt_neither_ends_nor_extends_the_pause(throttle: LoginThrottle) -> None:
    for _ in range(3):
        fails(throttle, "attacker")
    before = throttle.attempt("sign_in", ADA, network="attacker").wait

    assert fails(throttle, "one")
    assert succeeds(throttle, "two")

    after = throttle.attempt("sign_in", ADA, network="attacker").wait
    assert before - timedelta(seconds=30) < after <= before


def test_a_refund_restores_what_was_known_of_the_network(throttle: LoginThrottle) -> None:
    assert fails(throttle, "owner")
    assert succeeds(throttle, "owner")
    assert succeeds(throttle, "elsewhere")
    for _ in range(2):
        fails(throttle, "attacker")

    assert not succeeds(throttle, "owner"), "the failed attempt before the success still counts"
    assert succeeds(throttle, "elsewhere")


def test_nist_a_hundred_failed_attempts_are_out_of_reach_of_reserved_attempts(
    throttle: LoginThrottle, pass_time: Callable[[timedelta], None]
) -> None:
    generous = replace(throttle, reserved=50, free=30)
    days = []
    for day in range(4):
        failed = sum(fails(generous, "attacker") for _ in range(31))
        failed += sum(fails(generous, f"day {day} network {number}") for number in range(60))
        days.append(failed)
        pass_time(DAY + timedelta(seconds=1))

    assert days == [30 + 50, 1 + 9, 1, 1], "no more than 90 with the reserved ones, then one a day"


def test_rl2_reserved_attempts_are_exact_under_concurrency(throttle: LoginThrottle) -> None:
    for _ in range(3):
        fails(throttle, "attacker")
    networks = iter(f"network {number // 2}" for number in range(1000))

    admitted = at_once(40, lambda: fails(throttle, next(networks)))

    assert sum(admitted) == 5


def test_without_a_network_there_is_no_reserved_attempt(throttle: LoginThrottle) -> None:
    assert [fails(throttle, "") for _ in range(5)] == [True] * 3 + [False] * 2


def test_the_memory_of_an_address_is_bounded_and_names_no_network(
    throttle: LoginThrottle, stores: Stores, pass_time: Callable[[timedelta], None]
) -> None:
    endless = replace(throttle, free=10_000, reserved=10_000)
    for number in range(MOST_NETWORKS + 50):
        fails(endless, f"198.51.100.{number}")

    with redis.Redis.from_url(stores.redis_url) as client:
        [key] = client.keys("auth:throttle:*")
        fields = client.hkeys(key)
        assert len(fields) <= MOST_NETWORKS
        assert not any(b"." in name or b"@" in name for name in [*fields, key])
        assert 0 < client.pttl(key) <= 2 * DAY // timedelta(milliseconds=1)
        # Networks of yesterday are forgotten.
        pass_time(DAY)
        fails(endless, "another")
        assert client.hlen(key) == 3
