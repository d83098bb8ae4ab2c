"""Slow clients (E21): connections that send one header per second, and the responses to other clients."""

import http.client
import multiprocessing
import resource
import select
import socket
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from multiprocessing.synchronize import Event

from tests.bench.load import Load
from tests.bench.testbed import Server

PAUSE = 1.0
TIMEOUT = 5.0
THINK = 0.05
HEAD = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_fork = multiprocessing.get_context("fork")


def with_slow_clients(server: Server, path: str, *, seconds: float, slow: int) -> Load:
    """Send at most twenty requests per second on new connections, while `slow` slow clients are connected."""
    connected, over = _fork.Event(), _fork.Event()
    process = _fork.Process(target=_send_slowly, args=(server.port, slow, connected, over))
    process.start()
    try:
        connected.wait(30)
        time.sleep(PAUSE)
        return _send_on_new_connections(server.port, path, seconds)
    finally:
        over.set()
        process.join()


def _send_on_new_connections(port: int, path: str, seconds: float) -> Load:
    latencies: list[float] = []
    failures, began = 0, time.perf_counter()
    while (sent_at := time.perf_counter()) < began + seconds:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
            try:
                connection.request("GET", path)
                failures += connection.getresponse().status != HTTPStatus.OK
            except OSError:
                failures += 1
        latencies.append(time.perf_counter() - sent_at)
        time.sleep(THINK)
    latencies.sort()
    return Load(
        requests=len(latencies) - failures,
        seconds=time.perf_counter() - began,
        p50=latencies[len(latencies) // 2],
        p99=latencies[int(len(latencies) * 0.99)],
        failures=failures,
    )


@dataclass(slots=True)
class _SlowClient:
    """One connection, which is opened again when the server closes it."""

    port: int
    connection: socket.socket = field(init=False)
    has_sent_head: bool = field(init=False)

    def __post_init__(self) -> None:
        self._connect()

    def _connect(self) -> None:
        self.connection, self.has_sent_head = socket.socket(), False
        self.connection.setblocking(False)
        with suppress(BlockingIOError):
            self.connection.connect(("127.0.0.1", self.port))

    def send_line(self) -> None:
        """Send the next line of the request; does nothing while the connection is not yet accepted."""
        try:
            if self._has_been_answered():
                raise ConnectionResetError
            self.connection.send(b"X-Slow: 1\r\n" if self.has_sent_head else HEAD)
            self.has_sent_head = True
        except BlockingIOError:
            return
        except OSError:
            self.connection.close()
            self._connect()

    def _has_been_answered(self) -> bool:
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        return bool(poller.poll(0))


def _send_slowly(port: int, number: int, connected: Event, over: Event) -> None:
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
    clients = [_SlowClient(port) for _ in range(number)]
    for client in clients:
        client.send_line()
    connected.set()
    while not over.wait(PAUSE):
        for client in clients:
            client.send_line()
    for client in clients:
        client.connection.close()
