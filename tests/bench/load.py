"""Load generators: wrk repeats one request; the Python client builds each request from the last response.

The Python client runs virtual users: generators that yield a request and receive its response. One thread drives all
connections, which costs little processor time; the result includes how much.
"""

import json
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

CONNECTIONS = 32
SERVICE_UNAVAILABLE = 503
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
WRK = shutil.which("wrk")


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """The result of one run of load."""

    requests: int
    seconds: float
    p50: float
    """Seconds."""
    p99: float
    failures: int
    unavailable: int = 0
    """Expected responses with status 503; they do not count as requests."""
    client: float | None = None
    """The share of one processor that the Python client used; None for wrk."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    head: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """The bytes of an HTTP request, and the only status that counts as success."""

    raw: bytes
    expects: int
    may_be_unavailable: bool = False


@dataclass(frozen=True, slots=True)
class UnmeasuredStep:
    """A step of a user between two requests that is not measured."""

    user_id: int


SHOWN_FAILURES = 3

VirtualUser = Generator[Request | UnmeasuredStep, Response | str, None]
RunSteps = Callable[[list[int]], dict[int, str]]
"""Takes the user ids of waiting steps; returns the results of those that are complete."""


def request(
    method: str,
    target: str,
    *,
    expects: int,
    body: str | None = None,
    headers: Iterable[str] = (),
    may_be_unavailable: bool = False,
) -> Request:
    """An HTTP/1.1 request to 127.0.0.1."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return Request("\r\n".join([*lines, "", body or ""]).encode(), expects, may_be_unavailable)


def wrk(*, port: int, seconds: float, arguments: Iterable[str]) -> Load:
    """Run wrk with `requests.lua` and one thread. Raises CalledProcessError."""
    script = Path(__file__).with_name("requests.lua")
    command = [str(WRK), "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(script)]
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/", "--", *arguments], capture_output=True, text=True, check=True
    )
    summary = json.loads(run.stdout.strip().rpartition("\n")[2])
    return Load(
        requests=summary["requests"],
        seconds=summary["microseconds"] / 1e6,
        p50=summary["p50"] / 1e6,
        p99=summary["p99"] / 1e6,
        failures=summary["failures"],
    )


@dataclass(slots=True)
class _Connection:
    """One connection and its current virtual user."""

    socket: socket.socket
    user: VirtualUser
    expects: int = 0
    may_be_unavailable: bool = False
    asked_at: float = 0.0
    received: bytes = b""


@dataclass(kw_only=True)
class LoadClient:
    """Concurrent virtual users on persistent connections; a new user replaces each one that ends."""

    port: int
    new_user: Callable[[], VirtualUser]
    run_steps: RunSteps = field(default=lambda _: {})
    connections: int = CONNECTIONS
    finished: int = 0
    """The number of users that ended without a failure."""

    def use(self, *, seconds: float) -> Load:
        """Send requests for some seconds. Requests without a response at the end do not count."""
        self._latencies: list[float] = []
        self._failures = self._unavailable = 0
        self._waiting: dict[int, _Connection] = {}
        with ExitStack() as stack:
            poller = stack.enter_context(select.epoll())
            connections: dict[int, _Connection] = {}
            for _ in range(self.connections):
                socket_ = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))
                socket_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poller.register(socket_, select.EPOLLIN)
                connections[socket_.fileno()] = _Connection(socket_, self.new_user())
            began, processor = time.perf_counter(), time.process_time()
            for connection in connections.values():
                self._continue(connection, None)
            while (now := time.perf_counter()) < began + seconds:
                for number, _ in poller.poll(0.001 if self._waiting else min(1.0, began + seconds - now)):
                    self._receive(connections[number])
                self._finish_steps()
            took = time.perf_counter() - began
            return self._load(took, client=(time.process_time() - processor) / took)

    def _load(self, seconds: float, *, client: float) -> Load:
        sorted_ = sorted(self._latencies) or [0.0]
        return Load(
            requests=len(self._latencies),
            seconds=seconds,
            p50=sorted_[len(sorted_) // 2],
            p99=sorted_[int(len(sorted_) * 0.99)],
            failures=self._failures,
            unavailable=self._unavailable,
            client=client,
        )

    def _receive(self, connection: _Connection) -> None:
        data = connection.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        connection.received += data
        head, separator, body = connection.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not separator or length is None or len(body) < int(length[1]):
            return
        response = Response(int(head[9:12]), head, body)
        if response.status == SERVICE_UNAVAILABLE and connection.may_be_unavailable:
            self._unavailable += 1
            self._continue(connection, response)
            return
        self._latencies.append(time.perf_counter() - connection.asked_at)
        if response.status == connection.expects:
            self._continue(connection, response)
        else:
            self._failures += 1
            if self._failures <= SHOWN_FAILURES:
                print(f"unexpected response {response.status}: {response.body[:200]!r}", file=sys.stderr, flush=True)
            connection.user = self.new_user()
            self._continue(connection, None)

    def _continue(self, connection: _Connection, response: Response | str | None) -> None:
        try:
            # A new generator only accepts None.
            step = next(connection.user) if response is None else connection.user.send(response)
        except StopIteration:
            self.finished += 1
            connection.user = self.new_user()
            step = next(connection.user)
        if isinstance(step, UnmeasuredStep):
            self._waiting[step.user_id] = connection
        else:
            connection.expects, connection.may_be_unavailable, connection.received = (
                step.expects,
                step.may_be_unavailable,
                b"",
            )
            connection.asked_at = time.perf_counter()
            connection.socket.sendall(step.raw)

    def _finish_steps(self) -> None:
        if self._waiting:
            for user_id, result in self.run_steps(list(self._waiting)).items():
                self._continue(self._waiting.pop(user_id), result)
