"""Redis as it can be: restarted, full, or not telling what it is asked."""

import re
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import redis

from auth_service.adapters.redis.client import RedisClient, Script
from auth_service.errors import RedisUnavailable, ServiceBusy
from auth_service.wiring import Services
from tests.support.application import MakeApp
from tests.support.stores import Stores

COUNT = Script("return redis.call('INCR', KEYS[1])")


@pytest.fixture
def client(stores: Stores, make_app: MakeApp) -> Iterator[redis.Redis]:
    """A client beside the service."""
    with redis.Redis.from_url(stores.redis_url) as made:
        yield made


@pytest.fixture
def store(stores: Stores) -> Iterator[RedisClient]:
    """The store, as the service has it."""
    made = RedisClient(url=stores.redis_url, connections=2)
    yield made
    made.close()


def test_a_script_that_the_server_forgot_is_sent_again(client: redis.Redis, store: RedisClient) -> None:
    assert store.run(COUNT, "counted") == 1
    client.script_flush()

    assert store.run(COUNT, "counted") == 2


def test_plain_values_live_as_long_as_they_are_told(client: redis.Redis, store: RedisClient) -> None:
    assert store.get("plain") is None
    store.put("plain", "value", ttl=timedelta(minutes=1))

    assert store.get("plain") == b"value"
    assert 0 < int(client.pttl("auth:plain")) <= 60_000


def test_a_full_server_refuses_new_codes_and_forgets_none(client: redis.Redis, store: RedisClient) -> None:
    store.put("kept", "value", ttl=timedelta(minutes=1))
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(RedisUnavailable) as away:
            store.put("new", "value", ttl=timedelta(minutes=1))
    finally:
        client.config_set("maxmemory", "0")

    assert away.value.code == "redis_away"
    assert store.get("kept") == b"value"


@contextmanager
def all_connections_in_use(store: RedisClient) -> Iterator[None]:
    """Other requests use them."""
    taken = 0
    while store._free.acquire(blocking=False):
        taken += 1
    try:
        yield
    finally:
        store._free.release(taken)


def test_a_store_whose_connections_are_all_in_use_is_busy_and_not_away(client: redis.Redis, store: RedisClient) -> None:
    store.put("kept", "value", ttl=timedelta(minutes=1))
    connected = {each["id"] for each in client.client_list()}

    with all_connections_in_use(store), pytest.raises(ServiceBusy) as busy:
        store.ping()

    assert busy.value.retry_after == 1
    assert store.get("kept") == b"value", "the circuit is closed"
    assert {each["id"] for each in client.client_list()} == connected, "no connection was given up"


def test_an_attempt_that_could_not_be_given_back_refuses_nobody(services: Services) -> None:
    throttle, store = services.sign_in.throttle, services.redis
    attempt = throttle.attempt("test", "ada")
    with all_connections_in_use(store):
        throttle.refund("test", "ada", attempt)
        with pytest.raises(ServiceBusy):
            throttle.attempt("test", "ada")


def test_no_more_connections_are_opened_than_allowed(client: redis.Redis, stores: Stores) -> None:
    before = len(client.client_list())
    store = RedisClient(url=stores.redis_url, connections=3)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.run(COUNT, "counted"), range(200)))

    assert 1 <= len(client.client_list()) - before <= 3
    assert store.run(COUNT, "counted") == 201
    store.close()


def test_several_scripts_run_in_one_round_trip_and_each_is_answered(client: redis.Redis, store: RedisClient) -> None:
    client.script_flush()
    fails = Script("return redis.error_reply('ERR no')")

    assert store.run_each(COUNT, [("one", ()), ("two", ()), ("one", ())]) == [1, 1, 2]
    with pytest.raises(RedisUnavailable):
        store.run_all([(COUNT, "one", ()), (fails, "one", ())])
    assert store.run(COUNT, "one") == 4, "what came before the error was carried out, and the connection is in step"


class Hanging(socketserver.ThreadingTCPServer):
    """A server that says OK to every command, until it hangs; then it only takes down what it is sent."""

    daemon_threads = True
    hangs = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.heard = b""


class Talk(socketserver.BaseRequestHandler):
    """One connection."""

    server: Hanging

    def handle(self) -> None:
        while said := self.request.recv(4096):
            if self.server.hangs:
                self.server.heard += said
            else:
                self.request.sendall(b"+OK\r\n" * len(re.findall(rb"\*\d+\r\n", said)))


def test_only_the_probe_connects_to_a_server_that_hangs() -> None:
    with Hanging() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = RedisClient(url=f"redis://127.0.0.1:{server.server_address[1]}/0", connections=4)
        with ThreadPoolExecutor(4) as pool:  # on several connections
            list(pool.map(lambda _: store.ping(), range(100)))

        server.hangs = True
        for _ in range(2):
            with pytest.raises(RedisUnavailable):
                store.ping()
            time.sleep(1.05)  # until a request may try again
        store.close()
        server.shutdown()

    # What it was sent it would carry out when it goes on: a guess would count that was refused.
    assert server.heard.count(b"PING") == 1
    assert b"CLIENT" in server.heard


def test_a_server_that_does_not_tell_its_policy_is_taken_as_it_is(client: redis.Redis, stores: Stores) -> None:
    client.acl_setuser(
        "quiet", enabled=True, passwords=["+word"], categories=["+@all"], commands=["-config"], keys=["*"]
    )
    address = urlsplit(stores.redis_url)
    quiet = RedisClient(url=f"redis://quiet:word@{address.hostname}:{address.port}/0", connections=1)
    try:
        assert quiet.eviction_policy() is None
        quiet.ping()
    finally:
        quiet.close()
        client.acl_deluser("quiet")


def test_a_server_that_is_not_there_is_away() -> None:
    with pytest.raises(RedisUnavailable):
        RedisClient(url="redis://127.0.0.1:9/0", connections=1).eviction_policy()
