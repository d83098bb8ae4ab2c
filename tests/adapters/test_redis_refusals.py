"""Redis replies that are errors: unavailability, refused writes (READONLY, OOM), and when the client connects again."""

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from auth_service.adapters.redis.client import RedisClient, RedisReadOnly, Script
from auth_service.errors import RedisUnavailable

SCRIPT = Script("return redis.call('SET', KEYS[1], '1')")

IN_A_SCRIPT = "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -"
REPLICA = "READONLY You can't write against a read only replica."

REPLIES = [
    (REPLICA, RedisReadOnly, True),
    (f"{REPLICA} script: 5f1c, on @user_script:1.", RedisReadOnly, True),
    (f"{IN_A_SCRIPT}{REPLICA}", RedisReadOnly, True),
    ("NOREPLICAS Not enough good replicas to write.", RedisReadOnly, True),
    ("OOM command not allowed when used memory > 'maxmemory'.", RedisReadOnly, False),
    (f"{IN_A_SCRIPT}OOM command not allowed when used memory > 'maxmemory'.", RedisReadOnly, False),
    ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist.", RedisReadOnly, False),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", RedisUnavailable, True),
    ("LOADING Redis is loading the dataset in memory", RedisUnavailable, True),
    ("CLUSTERDOWN The cluster is down", RedisUnavailable, True),
    ("MOVED 3999 127.0.0.1:6381", RedisUnavailable, True),
    ("NOAUTH Authentication required.", RedisUnavailable, True),
    ("NOPERM User auth has no permissions to run the 'set' command", RedisUnavailable, False),
    ("BUSY Redis is busy running a script.", RedisUnavailable, False),
    ("TRYAGAIN Multiple keys request during rehashing of slot", RedisUnavailable, False),
    ("ERR something new", RedisUnavailable, False),
]


class Refusing(socketserver.ThreadingTCPServer):
    """A server that answers commands about keys with an error, and counts connections."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.error: str | None = None
        self.connections = 0


class Connection(socketserver.BaseRequestHandler):
    """One connection."""

    server: Refusing

    def handle(self) -> None:
        self.server.connections += 1
        while received := self.request.recv(65536):
            for command in re.findall(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)", received):
                is_about_keys = command in (b"SET", b"EVALSHA", b"GET")
                error = self.server.error if is_about_keys else None
                self.request.sendall(f"-{error}\r\n".encode() if error else b"+OK\r\n")


@contextmanager
def refusing() -> Iterator[tuple[Refusing, RedisClient]]:
    """Such a server, and a client of it with one connection, which is open."""
    with Refusing() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = RedisClient(url=f"redis://127.0.0.1:{server.server_address[1]}/0", connections=1)
        client.run(SCRIPT, "key")
        yield server, client
        client.close()
        server.shutdown()


@pytest.mark.parametrize(("reply", "error", "connects_again"), REPLIES)
def test_a_refused_command_is_unavailability_and_leads_to_the_new_primary(
    reply: str, error: type[Exception], connects_again: bool
) -> None:
    with refusing() as (server, client):
        server.error = reply
        # Two commands in one round trip: the reply to the second must not become that of another request.
        with pytest.raises(RedisUnavailable) as raised:
            client.run_each(SCRIPT, [("one", ()), ("two", ())])
        assert type(raised.value) is error
        assert (raised.value.code, raised.value.retry_after) == ("redis_away", 1)

        server.error = None
        client._breaker.succeeded()  # LOADING and NOAUTH open the circuit for a second
        client.put("key", "value", ttl=timedelta(seconds=1))

        assert (server.connections > 1) == connects_again


@pytest.mark.parametrize(("reply", "error", "_"), REPLIES)
def test_the_probe_tells_a_server_that_refuses_writes_from_one_that_is_away(
    reply: str, error: type[Exception], _: bool
) -> None:
    with refusing() as (server, client):
        server.error = reply
        if error is RedisReadOnly:
            assert client.accepts_writes() is False
        else:
            with pytest.raises(RedisUnavailable):
                client.accepts_writes()
