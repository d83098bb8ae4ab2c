"""Redis client: restarted, full, hanging and unavailable servers, and servers with restricted commands."""

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
    """A client that does not belong to the service."""
    with redis.Redis.from_url(stores.redis_url) as created:
        yield created


@pytest.fixture
def store(stores: Stores) -> Iterator[RedisClient]:
    """The client as the service uses it."""
    created = RedisClient(url=stores.redis_url, connections=2)
    yield created
    created.close()


def test_a_script_that_the_server_lost_is_sent_again(client: redis.Redis, store: RedisClient) -> None:
    assert store.run(COUNT, "counted") == 1
    client.script_flush()

    assert store.run(COUNT, "counted") == 2


def test_plain_values_expire_after_their_ttl(client: redis.Redis, store: RedisClient) -> None:
    assert store.get("plain") is None
    store.put("plain", "value", ttl=timedelta(minutes=1))

    assert store.get("plain") == b"value"
    assert 0 < int(client.pttl("auth:plain")) <= 60_000


def test_a_full_server_rejects_new_codes_and_evicts_none(client: redis.Redis, store: RedisClient) -> None:
    store.put("kept", "value", ttl=timedelta(minutes=1))
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(RedisUnavailable) as error:
            store.put("new", "value", ttl=timedelta(minutes=1))
    finally:
        client.config_set("maxmemory", "0")

    assert error.value.code == "redis_away"
    assert store.get("kept") == b"value"


@contextmanager
def all_connections_in_use(store: RedisClient) -> Iterator[None]:
    """Other requests use all connections meanwhile."""
    connections = [store._idle.get() for _ in store._connections]
    try:
        yield
    finally:
        for connection in connections:
            store._idle.put(connection)


def test_a_client_whose_connections_are_all_in_use_is_busy_and_not_unavailable(
    client: redis.Redis, store: RedisClient
) -> None:
    store.put("kept", "value", ttl=timedelta(minutes=1))
    connected = {each["id"] for each in client.client_list()}

    with all_connections_in_use(store), pytest.raises(ServiceBusy) as busy:
        store.accepts_writes()

    assert busy.value.retry_after == 1
    assert store.get("kept") == b"value", "the circuit is closed"
    assert {each["id"] for each in client.client_list()} >= connected, "no connection was closed"


def test_a_failed_refund_of_an_attempt_rejects_no_user(services: Services) -> None:
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


def test_several_scripts_run_in_one_round_trip_and_each_has_a_result(client: redis.Redis, store: RedisClient) -> None:
    client.script_flush()
    fails = Script("return redis.error_reply('ERR no')")

    assert store.run_each(COUNT, [("one", ()), ("two", ()), ("one", ())]) == [1, 1, 2]
    with pytest.raises(RedisUnavailable):
        store.run_all([(COUNT, "one", ()), (fails, "one", ())])
    assert store.run(COUNT, "one") == 4, "scripts before the error ran, and the connection is in sync"


class Hanging(socketserver.ThreadingTCPServer):
    """A server that replies OK to every command until it hangs; then it only records the commands."""

    daemon_threads = True
    hangs = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.heard = b""


class Connection(socketserver.BaseRequestHandler):
    """One connection."""

    server: Hanging

    def handle(self) -> None:
        while commands := self.request.recv(4096):
            if self.server.hangs:
                self.server.heard += commands
            else:
                self.request.sendall(b"+OK\r\n" * len(re.findall(rb"\*\d+\r\n", commands)))


@pytest.mark.slow
def test_only_the_probe_connects_to_a_server_that_hangs() -> None:
    with Hanging() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = RedisClient(url=f"redis://127.0.0.1:{server.server_address[1]}/0", connections=4)
        with ThreadPoolExecutor(4) as pool:  # on several connections
            list(pool.map(lambda _: store.accepts_writes(), range(100)))

        server.hangs = True
        for _ in range(2):
            with pytest.raises(RedisUnavailable):
                store.accepts_writes()
            time.sleep(1.05)  # until a request may try again
        store.close()
        server.shutdown()

    # A server that continues runs the commands it received: it would count an attempt that was already rejected.
    assert server.heard.count(b"auth:probe") == 1
    assert b"CLIENT" in server.heard


def test_a_server_that_hides_its_eviction_policy_is_accepted(client: redis.Redis, stores: Stores) -> None:
    client.acl_setuser(
        "quiet", enabled=True, passwords=["+word"], categories=["+@all"], commands=["-config"], keys=["*"]
    )
    address = urlsplit(stores.redis_url)
    quiet = RedisClient(url=f"redis://quiet:word@{address.hostname}:{address.port}/0", connections=1)
    try:
        assert quiet.eviction_policy() is None
        quiet.accepts_writes()
    finally:
        quiet.close()
        client.acl_deluser("quiet")


def test_a_server_that_does_not_listen_is_unavailable() -> None:
    with pytest.raises(RedisUnavailable):
        RedisClient(url="redis://127.0.0.1:9/0", connections=1).eviction_policy()
