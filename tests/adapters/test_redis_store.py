"""Redis as it can be: restarted, full, or not telling what it is asked."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import redis

from auth_service.adapters.redis_store import RedisStore, Script
from auth_service.errors import RedisAway
from tests.conftest import MakeApp, Stores

COUNT = Script("return redis.call('INCR', KEYS[1])")


@pytest.fixture
def client(stores: Stores, make_app: MakeApp) -> Iterator[redis.Redis]:
    """A client beside the service."""
    with redis.Redis.from_url(stores.redis_url) as made:
        yield made


@pytest.fixture
def store(stores: Stores) -> Iterator[RedisStore]:
    """The store, as the service has it."""
    made = RedisStore(url=stores.redis_url, connections=2)
    yield made
    made.close()


def test_a_script_that_the_server_forgot_is_sent_again(client: redis.Redis, store: RedisStore) -> None:
    assert store.run(COUNT, "counted") == 1
    client.script_flush()

    assert store.run(COUNT, "counted") == 2


def test_plain_values_live_as_long_as_they_are_told(client: redis.Redis, store: RedisStore) -> None:
    assert store.get("plain") is None
    store.put("plain", "value", ttl=timedelta(minutes=1))

    assert store.get("plain") == b"value"
    assert 0 < int(client.pttl("auth:plain")) <= 60_000


def test_a_full_server_refuses_new_codes_and_forgets_none(client: redis.Redis, store: RedisStore) -> None:
    store.put("kept", "value", ttl=timedelta(minutes=1))
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(RedisAway) as away:
            store.put("new", "value", ttl=timedelta(minutes=1))
    finally:
        client.config_set("maxmemory", "0")

    assert away.value.code() == "redis_away"
    assert store.get("kept") == b"value"


def test_a_server_that_does_not_tell_its_policy_is_taken_as_it_is(client: redis.Redis, stores: Stores) -> None:
    client.acl_setuser(
        "quiet", enabled=True, passwords=["+word"], categories=["+@all"], commands=["-config"], keys=["*"]
    )
    address = urlsplit(stores.redis_url)
    quiet = RedisStore(url=f"redis://quiet:word@{address.hostname}:{address.port}/0", connections=1)
    try:
        assert quiet.eviction_policy() is None
        quiet.ping()
    finally:
        quiet.close()
        client.acl_deluser("quiet")


def test_a_server_that_is_not_there_is_away() -> None:
    with pytest.raises(RedisAway):
        RedisStore(url="redis://127.0.0.1:9/0", connections=1).eviction_policy()
