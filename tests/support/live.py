"""Live server: gunicorn as production runs it, for tests over a socket."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

from auth_service.embedded import processes
from auth_service.settings import Settings
from tests.support.conformance import note_error
from tests.support.stores import CODE_KEY, KEYRING_KEY, OUTBOX_KEY, SECOND_FACTOR_KEY, SESSION_KEY, Stores

ROOT = Path(__file__).parents[2]
PATIENCE = 90
"""Seconds that the server may take to start and to stop beside other programs: a bound for a hang, not a promise."""
WITNESS = "witness@example.org"
PORTAL = "https://portal.example.org"
"""The allowed CORS origin of a front end."""
FIRST_ADMINISTRATOR = "first-administrator@example.org"
"""The address whose user becomes administrator while there is none."""
HANGS = 5.0
"""An answer that takes longer than this, in seconds, counts as a hang."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The bytes of an answer until the server closed the socket."""

    status: int
    headers: "Message[str, str]"
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body, which has to be JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The `error.code` of an error answer."""
        code: str = self.json["error"]["code"]
        return code

    @property
    def outcome(self) -> tuple[int, str]:
        """The status, and the error code of an error answer."""
        return self.status, "" if self.status < 400 else self.code


def check_refusal(answer: Answer, status: int, code: str) -> None:
    """Check an error answer against the contract: its schema, headers and time."""
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.seconds < HANGS
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert len(answer.headers["X-Request-Id"]) == 32
    body = answer.json
    assert (body["success"], body["result"]) == (False, None)
    assert set(body["error"]) <= {"code", "msg", "fields", "attempts_left", "retry_after"}
    assert isinstance(body["error"]["msg"], str)
    assert ("fields" in body["error"]) == (status == 422)
    assert all(field.keys() == {"field", "reason", "msg"} for field in body["error"].get("fields", []))


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """A listening server and its log file."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def say(self, raw: bytes, *, within: float = HANGS) -> Answer:
        """Send these bytes and nothing else, and read the answer. Raises OSError, also after the time limit."""
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout=within) as connection:
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # The server closed early; its answer can still be read.
                connection.sendall(raw)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        seconds = time.monotonic() - began
        head, _, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
        status_line, _, headers = head.decode("ascii").partition("\r\n")
        if not status_line:
            raise ConnectionError("closed without an answer")
        note_error(body)
        return Answer(
            status=int(status_line.split()[1]), headers=message_from_string(headers), body=body, seconds=seconds
        )

    def request(
        self, method: str, target: str, *headers: str, body: bytes | None = None, within: float = HANGS
    ) -> Answer:
        """Send a well-formed request, with a Content-Length if there is a body."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return self.say("\r\n".join([*lines, "", ""]).encode() + (body or b""), within=within)

    def send_json(self, method: str, target: str, body: bytes) -> Answer:
        """Send any body as JSON."""
        return self.request(method, target, "Content-Type: application/json", body=body)

    def call(self, method: str, path: str, *, headers: Mapping[str, str], body: Any = None) -> Answer:
        """Send a request to `/api/v1`, with a body of JSON; repeat it while the service is busy, as clients do."""
        lines = [f"{name}: {value}" for name, value in headers.items()]
        encoded = None if body is None else json.dumps(body).encode()
        give_up_at = time.monotonic() + PATIENCE
        while True:
            answer = self.request(
                method, f"/api/v1{path}", *lines, "Content-Type: application/json", body=encoded, within=PATIENCE
            )
            if answer.status != 503 or time.monotonic() > give_up_at:
                return answer
            time.sleep(0.1)

    def workers(self) -> list[int]:
        """The worker processes, which answer the requests."""
        return [each.pid for each in processes.present() if each.parent == self.process.pid]

    def wait_for_workers(self, count: int) -> None:
        """Wait until that many worker processes run; the first can be ready before gunicorn has started the next."""
        give_up_at = time.monotonic() + PATIENCE
        while len(self.workers()) != count:
            assert time.monotonic() < give_up_at, self.log.read_text()
            time.sleep(0.05)

    def freeze_workers(self) -> list[int]:
        """Stop the worker processes with SIGSTOP, and wait until no thread of them runs; returns their ids.

        The kernel stops threads one by one: until the last has stopped, one can still answer.
        """
        workers = self.workers()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        give_up_at = time.monotonic() + PATIENCE
        while not all(state == "T" for pid in workers for state in thread_states(pid)):
            assert time.monotonic() < give_up_at, "the workers do not stop"
            time.sleep(0.01)
        return workers

    def wait_until_ready(self) -> None:
        """Wait until the server is ready."""
        give_up_at = time.monotonic() + PATIENCE
        while not self.is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < give_up_at, self.log.read_text()
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Whether the server is ready."""
        try:
            return self.request("GET", "/health/ready").status == 200
        except OSError:
            return False


def thread_states(pid: int) -> list[str]:
    """The state of each thread of a process, one letter as in `ps`; Linux only."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return [thread.read_text().rpartition(")")[2].split()[0] for thread in threads]


@contextmanager
def live_server(stores: Stores, folder: Path, **others: str) -> Iterator[Live]:
    """gunicorn under `deploy/gunicorn.conf.py`, over these migrated stores, without rate limits; `others` win.

    The working directory is `folder`, so that the server reads no `.env` of a developer.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "APP_ENV": "test",
        "RATE_LIMITS": "off",
        "HTTP_PORT": str(port),
        "PUBLIC_URL": "http://127.0.0.1:5000",  # as in the other test applications, so that their tokens are valid here
        "DATABASE_URL": stores.database_url,
        "REDIS_URL": stores.redis_url,
        "DATA_DIR": str(folder / "data"),
        "CODE_KEY": CODE_KEY,
        "OUTBOX_KEY": OUTBOX_KEY,
        "SESSION_KEY": SESSION_KEY,
        "KEYRING_KEY": KEYRING_KEY,
        "SECOND_FACTOR_KEY": SECOND_FACTOR_KEY,
        "CORS_ORIGINS": PORTAL,
        "FIRST_ADMINISTRATOR": FIRST_ADMINISTRATOR,
        "WEB_WORKERS": "2",
        "DRAIN_SECONDS": "0",
        "LOG_LEVEL": "DEBUG",
        **others,
    }
    assert settings.keys() <= {name.upper() for name in Settings.model_fields}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "deploy" / "gunicorn.conf.py")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **settings},
            stdout=log,
            stderr=log,
        )
    started = Live(port=port, log=folder / "log", process=server)
    try:
        started.wait_until_ready()
        yield started
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
