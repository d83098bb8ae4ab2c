"""Reserved share of a daily limit: no number of networks below the share uses up the limit of one address."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import RedisClient
from auth_service.adapters.redis.network_share import SharedLimit
from auth_service.adapters.redis.rate_limiter import Hit, Limit, LocalRateLimiter, RateLimiter
from auth_service.errors import RedisUnavailable
from tests.support.application import MakeApp
from tests.support.passing_time import time_machine
from tests.support.races import at_once
from tests.support.stores import Stores

DAY = timedelta(days=1)
TEN, RESERVED = 10, 4


def limiter_at(url: str) -> RateLimiter:
    """A rate limiter over a Redis."""
    return RateLimiter(
        store=RedisClient(url=url, connections=10),
        digests=Digests("a secret of the tests", purpose="limits"),
        local=LocalRateLimiter(),
        enabled=True,
    )


@pytest.fixture
def limiter(stores: Stores, make_app: MakeApp) -> RateLimiter:
    """A rate limiter over the Redis of this run, which is emptied after the test because of `make_app`."""
    return limiter_at(stores.redis_url)


@pytest.fixture
def pass_time(stores: Stores) -> Callable[[timedelta], None]:
    """Lets time pass for everything that was counted."""
    return time_machine(stores)


def share(network: str, subject: str = "ada", *, limit: int = TEN, reserved: int = RESERVED) -> SharedLimit:
    """The daily limit of an address, for a network."""
    return SharedLimit(name="codes", subject=subject, network=network, limit=limit, reserved=reserved)


def allowed(limiter: RateLimiter, networks: Sequence[str]) -> list[bool]:
    """Whether requests from these networks are allowed, one after the other."""
    return [limiter.hit_in_redis(share(network)).allowed for network in networks]


def test_the_last_requests_of_a_day_are_for_networks_that_had_none(limiter: RateLimiter) -> None:
    assert allowed(limiter, "aabbaabb") == [True] * 6 + [False] * 2
    assert allowed(limiter, "caddec") == [True, False, True, False, True, False]
    assert allowed(limiter, "fghab") == [True, False, False, False, False]


@settings(max_examples=40)
@given(
    networks=st.lists(st.sampled_from("abcdefgh"), max_size=40), limit=st.integers(1, 12), reserved=st.integers(0, 14)
)
def test_every_order_of_requests_keeps_the_reserved_share(
    stores: Stores, make_app: MakeApp, networks: list[str], limit: int, reserved: int
) -> None:
    with redis.Redis.from_url(stores.redis_url) as client:
        client.flushdb()
    limiter = limiter_at(stores.redis_url)
    granted: list[str] = []
    for network in networks:
        is_allowed = limiter.hit_in_redis(share(network, limit=limit, reserved=reserved)).allowed
        is_open = len(granted) < max(1, limit - reserved)
        assert is_allowed == (is_open or (len(granted) < limit and network not in granted))
        granted += [network] * is_allowed
    limiter.store.close()


def test_the_wait_is_the_time_until_the_next_request_is_allowed(
    limiter: RateLimiter, pass_time: Callable[[timedelta], None]
) -> None:
    def rejected(network: str) -> Hit:
        hit = limiter.hit_in_redis(share(network))
        assert not hit.allowed
        return hit

    allowed(limiter, "aaabbb")
    pass_time(timedelta(hours=3))
    last = limiter.hit_in_redis(share("c"))
    assert last.wait > timedelta(hours=20), "the share has nothing more for this network, until older requests end"
    assert allowed(limiter, "def") == [True] * 3
    for network in "acg":
        wait = rejected(network).wait
        assert timedelta(hours=20) < wait <= timedelta(hours=21)
    pass_time(rejected("g").wait + timedelta(seconds=1))
    assert allowed(limiter, "gg") == [True, True], "all six open requests of yesterday have ended"
    assert allowed(limiter, "acgh") == [True, False, False, True]


def test_a_refund_removes_the_request_of_its_network(limiter: RateLimiter) -> None:
    full = Limit(name="full", windows=[(1, DAY)], subject="")
    assert limiter.hit_in_redis(full).allowed
    assert allowed(limiter, "aaaaab") == [True] * 6

    assert not limiter.hit_in_redis(share("c"), full).allowed, "another limit rejects the request"

    assert allowed(limiter, "c") == [True], "so it does not count against the network"
    key, digests = limiter._key(share("a")), limiter.digests
    limiter.store.run_all([share("b").refund(key, digests)])
    assert allowed(limiter, "b") == [True], "the newest request was that of another network"


def test_rl2_the_share_is_exact_under_concurrency(limiter: RateLimiter) -> None:
    networks = iter(f"{number}" for number in range(1000))

    answers = at_once(40, lambda: limiter.hit_in_redis(share(next(networks))).allowed)

    assert sum(answers) == TEN


def test_the_memory_of_an_address_is_bounded_and_names_no_network(limiter: RateLimiter, stores: Stores) -> None:
    for number in range(60):
        limiter.hit_in_redis(share(f"198.51.100.{number}", "ada@example.org"))

    with redis.Redis.from_url(stores.redis_url) as client:
        [key] = client.keys("auth:limit:*")
        entries = client.lrange(key, 0, -1)
        assert len(entries) == TEN
        assert all(b"." not in entry and len(entry) <= 30 for entry in entries)
        assert b"ada" not in key
        assert 0 < client.pttl(key) <= DAY // timedelta(milliseconds=1)


def test_rl3_without_redis_nothing_is_counted_elsewhere(make_app: MakeApp) -> None:
    with pytest.raises(RedisUnavailable):
        limiter_at("redis://127.0.0.1:9/0").hit_in_redis(share("a"))
