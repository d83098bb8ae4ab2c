"""Slow clients (E21): connections that send one header a second, and how other clients are served meanwhile."""

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
PATIENCE = 5.0
THINK = 0.05
HEAD = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_fork = multiprocessing.get_context("fork")


def beside_slow_clients(server: Server, path: str, *, seconds: float, slow: int) -> Load:
    """Twenty requests a second at most, each on a connection of its own, beside so many slow clients."""
    connected, over = _fork.Event(), _fork.Event()
    crowd = _fork.Process(target=_send_slowly, args=(server.port, slow, connected, over))
    crowd.start()
    try:
        connected.wait(30)
        time.sleep(PAUSE)
        return _one_by_one(server.port, path, seconds)
    finally:
        over.set()
        crowd.join()


def _one_by_one(port: int, path: str, seconds: float) -> Load:
    latencies: list[float] = []
    failures, began = 0, time.perf_counter()
    while (asked_at := time.perf_counter()) < began + seconds:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            try:
                connection.request("GET", path)
                failures += connection.getresponse().status != HTTPStatus.OK
            except OSError:
                failures += 1
        latencies.append(time.perf_counter() - asked_at)
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
    """One connection, which is made anew whenever the server ends it."""

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
        """Send the next line of the request; where the server does not take the connection yet, try again later."""
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
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clients = [_SlowClient(port) for _ in range(number)]
    for client in clients:
        client.send_line()
    connected.set()
    while not over.wait(PAUSE):
        for client in clients:
            client.send_line()
    for client in clients:
        client.connection.close()
