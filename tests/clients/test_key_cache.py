"""Cache of the signing keys in the Python verifier: rotation, random key ids, outages and broken answers."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from auth_service.adapters.crypto import access_tokens
from auth_service_verifier import KeysUnavailable, TokenInvalid
from auth_service_verifier.key_cache import FRESH, LONGEST_OUTAGE, RETRY_INTERVAL, UNKNOWN_KID_INTERVAL, KeyCache
from tests.support.scripted_server import ScriptedServer

SLOW = 0.3
"""Seconds that a slow endpoint takes."""


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def jwk(kid: str) -> dict[str, str]:
    """A new public key as the service publishes it."""
    _, _, public = access_tokens.new_key()
    keys = access_tokens.KeySet(
        signing_kid=kid,
        signing_key=access_tokens.private_key(access_tokens.new_key()[1]),
        verifying={kid: access_tokens.public_key(public)},
    )
    published: dict[str, str] = keys.jwks()["keys"][0]
    return published


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(endpoint: ScriptedServer, clock: Clock) -> KeyCache:
    endpoint.answer_with({"keys": [jwk("a")]})
    return KeyCache(endpoint.url, monotonic=clock)


def test_keys_are_fetched_once_in_five_minutes(cache: KeyCache, endpoint: ScriptedServer, clock: Clock) -> None:
    for _ in range(10):
        cache.key("a")
    clock.now += FRESH - 1
    cache.key("a")
    assert len(endpoint.requests) == 1

    clock.now += 1
    cache.key("a")
    assert len(endpoint.requests) == 2
    assert FRESH == 300


def test_a_new_key_is_found_without_waiting(cache: KeyCache, endpoint: ScriptedServer, clock: Clock) -> None:
    old = cache.key("a")
    endpoint.answer_with({"keys": [jwk("b")]})
    clock.now += UNKNOWN_KID_INTERVAL

    assert cache.key("b") != old
    with pytest.raises(TokenInvalid, match="unknown key"):
        cache.key("a")


def test_random_key_ids_cause_one_request_in_thirty_seconds(
    cache: KeyCache, endpoint: ScriptedServer, clock: Clock
) -> None:
    cache.key("a")
    for second in range(0, 90, 5):
        clock.now = 1000.0 + second
        for number in range(20):
            with pytest.raises(TokenInvalid):
                cache.key(f"random-{second}-{number}")

    assert len(endpoint.requests) == 3
    assert UNKNOWN_KID_INTERVAL == 30


def test_random_key_ids_of_many_threads_cause_one_request(
    cache: KeyCache, endpoint: ScriptedServer, clock: Clock
) -> None:
    cache.key("a")
    clock.now += UNKNOWN_KID_INTERVAL
    endpoint.delay = SLOW
    with ThreadPoolExecutor(20) as pool:
        outcomes = [pool.submit(cache.key, f"random-{number}") for number in range(20)]

    assert {type(outcome.exception()) for outcome in outcomes} == {TokenInvalid}
    assert len(endpoint.requests) == 2


def test_concurrent_requests_at_the_start_share_one_request(cache: KeyCache, endpoint: ScriptedServer) -> None:
    endpoint.delay = SLOW
    with ThreadPoolExecutor(20) as pool:
        keys = list(pool.map(cache.key, ["a"] * 20))

    assert len(set(map(id, keys))) == 1
    assert len(endpoint.requests) == 1


def test_a_slow_endpoint_delays_one_thread_and_not_the_others(
    cache: KeyCache, endpoint: ScriptedServer, clock: Clock
) -> None:
    cache.key("a")
    clock.now += FRESH
    endpoint.delay = SLOW

    def seconds_for_a_key() -> float:
        began = time.monotonic()
        cache.key("a")
        return time.monotonic() - began

    with ThreadPoolExecutor(10) as pool:
        delays = sorted(outcome.result() for outcome in [pool.submit(seconds_for_a_key) for _ in range(10)])

    assert delays[-1] >= SLOW > delays[-2]
    assert len(endpoint.requests) == 2


def test_cached_keys_are_used_for_an_hour_while_the_endpoint_is_down(
    cache: KeyCache, endpoint: ScriptedServer, clock: Clock
) -> None:
    known = cache.key("a")
    endpoint.answer_with({"error": "down"}, status=503)
    clock.now += FRESH
    assert cache.key("a") is known
    clock.now += LONGEST_OUTAGE - FRESH - 1
    assert cache.key("a") is known
    with pytest.raises(KeysUnavailable):
        cache.key("b")

    clock.now += 1
    with pytest.raises(KeysUnavailable):
        cache.key("a")
    assert LONGEST_OUTAGE == 3600

    endpoint.answer_with({"keys": [jwk("a")]})
    clock.now += RETRY_INTERVAL
    assert cache.key("a") != known


def test_requests_while_the_endpoint_is_down_are_bounded(
    cache: KeyCache, endpoint: ScriptedServer, clock: Clock
) -> None:
    endpoint.answer_with({"error": "down"}, status=503)
    for second in range(20):
        clock.now = 1000.0 + second
        for _ in range(5):
            with pytest.raises(KeysUnavailable):
                cache.key("a")

    assert len(endpoint.requests) == 20 / RETRY_INTERVAL


def test_keys_that_the_endpoint_has_not_published_before_are_used_after_an_outage_at_the_start(
    cache: KeyCache, endpoint: ScriptedServer, clock: Clock
) -> None:
    published = endpoint.body
    endpoint.answer_with({}, status=500)
    with pytest.raises(KeysUnavailable):
        cache.key("a")
    endpoint.answer_with(published)
    clock.now += RETRY_INTERVAL

    cache.key("a")


USELESS: dict[str, Any] = {
    "no object": [],
    "no keys": {},
    "an empty list": {"keys": []},
    "keys that are no list": {"keys": {"kid": "a"}},
    "an RSA key": {"keys": [{"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"}]},
    "a symmetric key": {"keys": [{"kty": "oct", "kid": "a", "k": "AAAA", "alg": "ES256"}]},
    "a key of another curve": {"keys": [{"kty": "EC", "crv": "P-384", "kid": "a", "x": "AA", "y": "AA"}]},
    "a key that is not on the curve": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA"}]},
    "a key for encryption": {"keys": [{**jwk("a"), "use": "enc"}]},
    "a key without an id": {"keys": [{**jwk("a"), "kid": None}]},
    "a key of another algorithm": {"keys": [{**jwk("a"), "alg": "HS256"}]},
    "HTML": b"<!doctype html>",
    "not UTF-8": b"\xff\xfe\x00",
    "too large": b'{"keys": [' + b" " * 70_000 + b"]}",
    "too deep": b"[" * 60_000,
}


@pytest.mark.parametrize("answer", USELESS.values(), ids=USELESS)
def test_a_useless_answer_does_not_replace_the_cached_keys(
    answer: Any, cache: KeyCache, endpoint: ScriptedServer, clock: Clock
) -> None:
    known = cache.key("a")
    endpoint.answer_with(answer)
    clock.now += FRESH

    assert cache.key("a") is known
    assert len(endpoint.requests) == 2
    with pytest.raises(KeysUnavailable):
        KeyCache(endpoint.url).key("a")


def test_other_keys_in_the_answer_are_ignored(endpoint: ScriptedServer) -> None:
    endpoint.answer_with({"keys": [*(entry for value in USELESS.values() for entry in entries(value)), jwk("b")]})

    cache = KeyCache(endpoint.url)

    cache.key("b")
    with pytest.raises(TokenInvalid):
        cache.key("a")


def entries(answer: Any) -> list[Any]:
    """The keys of an answer, if it has a list of them."""
    keys = answer.get("keys") if isinstance(answer, dict) else None
    return keys if isinstance(keys, list) else []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int, endpoint: ScriptedServer) -> None:
    endpoint.answer_with({"keys": [jwk("a")]}, status=status, Location=endpoint.url)

    with pytest.raises(KeysUnavailable):
        KeyCache(endpoint.url).key("a")
    assert len(endpoint.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("delay", "drip"), [(6.0, 0.0), (0.0, 0.1)], ids=["silent", "slow body"])
def test_waiting_for_the_keys_has_a_time_limit(
    delay: float, drip: float, cache: KeyCache, endpoint: ScriptedServer
) -> None:
    endpoint.delay, endpoint.drip = delay, drip

    began = time.monotonic()
    with pytest.raises(KeysUnavailable):
        cache.key("a")
    assert 2.5 < time.monotonic() - began < 5.5
