"""Rate limiter: sliding windows in Redis, and the same windows in this process while Redis is unavailable."""

from datetime import timedelta

import pytest
import redis

from auth_service.adapters.circuit_breaker import CircuitBreaker
from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import RedisClient
from auth_service.adapters.redis.rate_limiter import Limit, LocalRateLimiter, RateLimiter
from tests.support.application import MakeApp
from tests.support.stores import Stores

SECOND = timedelta(seconds=1)
WINDOWS = [(3, timedelta(seconds=60)), (5, timedelta(hours=1))]
CODES = Limit(name="codes", windows=WINDOWS, subject="ada")
ONE = Limit(name="codes", windows=[(1, SECOND)], subject="ada")


def limiter_at(url: str) -> RateLimiter:
    """A rate limiter over a Redis."""
    return RateLimiter(
        store=RedisClient(url=url, connections=2),
        digests=Digests("a secret of the tests", purpose="limits"),
        local=LocalRateLimiter(subjects=3),
        enabled=True,
    )


@pytest.fixture(params=["redis", "away"])
def limiter(request: pytest.FixtureRequest, stores: Stores, make_app: MakeApp) -> RateLimiter:
    """A rate limiter over an available Redis, and over an unavailable one."""
    return limiter_at(stores.redis_url if request.param == "redis" else "redis://127.0.0.1:9/0")


def test_every_window_is_enforced(limiter: RateLimiter) -> None:
    hits = [limiter.hit(CODES) for _ in range(4)]

    assert [hit.allowed for hit in hits] == [True, True, True, False]
    assert hits[1].wait == timedelta()
    assert timedelta(seconds=55) < hits[2].wait <= timedelta(seconds=60), (
        "the third attempt fills the window of a minute"
    )
    assert timedelta(seconds=55) < hits[3].wait <= timedelta(seconds=60)


def test_subjects_and_limits_are_counted_apart(limiter: RateLimiter) -> None:
    for subject, limit in (("ada", "codes"), ("grace", "codes"), ("ada", "guesses")):
        assert limiter.hit(Limit(name=limit, windows=[(1, SECOND)], subject=subject)).allowed
    assert not limiter.hit(ONE).allowed


def test_a_rejected_attempt_is_not_counted(stores: Stores, make_app: MakeApp) -> None:
    limiter = limiter_at(stores.redis_url)
    for _ in range(10):
        limiter.hit(CODES)

    with redis.Redis.from_url(stores.redis_url) as client:
        [key] = client.keys("auth:limit:*")
        assert client.llen(key) == 3
        assert b"ada" not in key


def test_an_attempt_rejected_by_one_limit_is_not_counted_by_another(limiter: RateLimiter) -> None:
    global_limit = Limit(name="altogether", windows=[(3, SECOND * 60)], subject="")
    of_ada = Limit(name="codes", windows=[(2, SECOND * 60)], subject="ada")
    hits = [limiter.hit(global_limit, of_ada) for _ in range(5)]

    assert [hit.allowed for hit in hits] == [True, True, False, False, False]
    assert hits[2].wait > timedelta(seconds=55)
    assert limiter.hit(global_limit, Limit(name="codes", windows=[(2, SECOND * 60)], subject="grace")).allowed
    assert not limiter.hit(global_limit).allowed


def test_several_limits_are_counted_by_a_server_that_was_restarted(stores: Stores, make_app: MakeApp) -> None:
    limiter = limiter_at(stores.redis_url)
    limits = [Limit(name=name, windows=[(2, SECOND * 60)], subject="ada") for name in ("one", "two")]
    with redis.Redis.from_url(stores.redis_url) as client:
        client.script_flush()

    assert [limiter.hit(*limits).allowed for _ in range(3)] == [True, True, False]


@pytest.mark.clock
def test_rl2_the_window_slides(stores: Stores, make_app: MakeApp) -> None:
    limiter = limiter_at(stores.redis_url)
    for _ in range(3):
        limiter.hit(CODES)
    with redis.Redis.from_url(stores.redis_url) as client:
        [key] = client.keys("auth:limit:*")
        newest, middle, oldest = (int(instant) for instant in client.lrange(key, 0, -1))
        # The oldest attempt leaves the window of a minute.
        for index, instant in enumerate((newest, middle, oldest - 60_000)):
            client.lset(key, index, str(instant))

    assert limiter.hit(CODES).allowed
    assert not limiter.hit(CODES).allowed


def test_the_local_rate_limiter_evicts_the_least_recent_subjects() -> None:
    local = LocalRateLimiter(subjects=2)
    for subject in ("a", "b", "c"):
        local.hit(subject, [(1, timedelta(hours=1))])

    assert not local.hit("c", [(1, timedelta(hours=1))]).allowed
    assert local.hit("a", [(1, timedelta(hours=1))]).allowed


def test_a_disabled_rate_limiter_counts_nothing() -> None:
    off = RateLimiter(
        store=RedisClient(url="redis://127.0.0.1:9/0", connections=1),
        digests=Digests("a secret of the tests", purpose="limits"),
        local=LocalRateLimiter(),
        enabled=False,
    )
    assert all(off.hit(ONE).allowed for _ in range(5))


def test_the_circuit_breaker_opens_probes_and_closes() -> None:
    now = [100.0]
    breaker = CircuitBreaker(open_for=SECOND, monotonic=lambda: now[0])
    assert breaker.allows_call()

    breaker.failed()
    assert not breaker.allows_call()
    now[0] += 1
    assert [breaker.allows_call() for _ in range(3)] == [True, False, False], "one probe at a time"
    breaker.failed()
    assert not breaker.allows_call()
    now[0] += 1
    assert breaker.allows_call()
    breaker.succeeded()

    assert all(breaker.allows_call() for _ in range(3))


def test_cd4_digests_bind_every_part() -> None:
    digests = Digests("a secret of the tests", purpose="limits")
    lists = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c")]

    assert len({digests.of(*parts) for parts in lists}) == len(lists), "no two lists of parts share an input"
