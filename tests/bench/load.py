"""Load: wrk where one request repeats, a client of our own where each request follows from the last answer.

The client plays people: generators that yield a request and are sent its answer. One thread drives all connections, so
that it costs little beside what it measures; how much, it says itself.
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
SENT_AWAY = 503
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
WRK = shutil.which("wrk")


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What a run of load met."""

    requests: int
    seconds: float
    p50: float
    """Seconds."""
    p99: float
    failures: int
    sent_away: int = 0
    """Answers that told to come back later, where those are expected; they are no requests."""
    client: float | None = None
    """The share of one processor that our own client took; nothing where wrk was the client."""

    @property
    def rate(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.seconds


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    head: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it goes out, and the only status that counts as success."""

    raw: bytes
    expects: int
    may_be_sent_away: bool = False


@dataclass(frozen=True, slots=True)
class Errand:
    """Something that a person does between two requests, and that is not measured."""

    subject: int


SHOWN_FAILURES = 3

UserRecord = Generator[Request | Errand, Answer | str, None]
RunErrands = Callable[[list[int]], dict[int, str]]
"""Takes the subjects of errands; returns what came of those that are done."""


def request(
    method: str,
    target: str,
    *,
    expects: int,
    body: str | None = None,
    headers: Iterable[str] = (),
    may_be_sent_away: bool = False,
) -> Request:
    """A request of HTTP/1.1 to this machine."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return Request("\r\n".join([*lines, "", body or ""]).encode(), expects, may_be_sent_away)


def wrk(*, port: int, seconds: float, arguments: Iterable[str]) -> Load:
    """Run wrk with the script of this folder and one thread. Raises CalledProcessError."""
    script = Path(__file__).with_name("requests.lua")
    command = [str(WRK), "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(script)]
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/", "--", *arguments], capture_output=True, text=True, check=True
    )
    said = json.loads(run.stdout.strip().rpartition("\n")[2])
    return Load(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        p50=said["p50"] / 1e6,
        p99=said["p99"] / 1e6,
        failures=said["failures"],
    )


@dataclass(slots=True)
class _Talk:
    """One connection and the person who uses it at the moment."""

    socket: socket.socket
    user: UserRecord
    expects: int = 0
    may_be_sent_away: bool = False
    asked_at: float = 0.0
    received: bytes = b""


@dataclass(kw_only=True)
class Crowd:
    """People who use the service at once, each on a connection that is kept for the next one."""

    port: int
    make_person: Callable[[], UserRecord]
    run_errands: RunErrands = field(default=lambda _: {})
    connections: int = CONNECTIONS
    finished: int = 0
    """People who came to their end without a failure."""

    def use(self, *, seconds: float) -> Load:
        """Use the service for so long. What is unanswered at the end does not count."""
        self._latencies: list[float] = []
        self._failures = self._sent_away = 0
        self._errands: dict[int, _Talk] = {}
        with ExitStack() as stack:
            poller = stack.enter_context(select.epoll())
            talks: dict[int, _Talk] = {}
            for _ in range(self.connections):
                made = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poller.register(made, select.EPOLLIN)
                talks[made.fileno()] = _Talk(made, self.make_person())
            began, busy = time.perf_counter(), time.process_time()
            for talk in talks.values():
                self._go_on(talk, None)
            while (now := time.perf_counter()) < began + seconds:
                for number, _ in poller.poll(0.001 if self._errands else min(1.0, began + seconds - now)):
                    self._hear(talks[number])
                self._come_back()
            took = time.perf_counter() - began
            return self._load(took, client=(time.process_time() - busy) / took)

    def _load(self, seconds: float, *, client: float) -> Load:
        sorted_ = sorted(self._latencies) or [0.0]
        return Load(
            requests=len(self._latencies),
            seconds=seconds,
            p50=sorted_[len(sorted_) // 2],
            p99=sorted_[int(len(sorted_) * 0.99)],
            failures=self._failures,
            sent_away=self._sent_away,
            client=client,
        )

    def _hear(self, talk: _Talk) -> None:
        data = talk.socket.recv(65536)
        if not data:
            raise ConnectionError("the server hung up")
        talk.received += data
        head, found, body = talk.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not found or length is None or len(body) < int(length[1]):
            return
        answer = Answer(int(head[9:12]), head, body)
        if answer.status == SENT_AWAY and talk.may_be_sent_away:
            self._sent_away += 1
            self._go_on(talk, answer)
            return
        self._latencies.append(time.perf_counter() - talk.asked_at)
        if answer.status == talk.expects:
            self._go_on(talk, answer)
        else:
            self._failures += 1
            if self._failures <= SHOWN_FAILURES:
                print(f"unexpected answer {answer.status}: {answer.body[:200]!r}", file=sys.stderr, flush=True)
            talk.user = self.make_person()
            self._go_on(talk, None)

    def _go_on(self, talk: _Talk, answer: Answer | str | None) -> None:
        try:
            # A generator that has just begun takes nothing but None.
            wish = next(talk.user) if answer is None else talk.user.send(answer)
        except StopIteration:
            self.finished += 1
            talk.user = self.make_person()
            wish = next(talk.user)
        if isinstance(wish, Errand):
            self._errands[wish.subject] = talk
        else:
            talk.expects, talk.may_be_sent_away, talk.received = wish.expects, wish.may_be_sent_away, b""
            talk.asked_at = time.perf_counter()
            talk.socket.sendall(wish.raw)

    def _come_back(self) -> None:
        if self._errands:
            for subject, result in self.run_errands(list(self._errands)).items():
                self._go_on(self._errands.pop(subject), result)
