"""The service as production runs it, for tests that speak to a socket."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import redis

from auth_service.settings import Settings
from tests.actors import USERS, ApiClient, Mailbox
from tests.conftest import CODE_KEY, KEYRING_KEY, OUTBOX_KEY, SESSION_KEY, MakeApp, Stores

ROOT = Path(__file__).parents[2]
PATIENCE = 30
WITNESS = "witness@example.org"
PORTAL = "https://portal.example.org"
"""Whose pages may read what the service answers."""
ADA, PASSWORD = "ada@example.org", "correct horse battery"
HANGS = 5.0
"""Whoever waits this long for an answer, in seconds, calls it a hang."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back over a socket until the server closed it."""

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
        """The `error.code` of a refusal."""
        code: str = self.json["error"]["code"]
        return code


def check_refusal(answer: Answer, status: int, code: str) -> None:
    """Whether it is a refusal of the contract: its shape, its headers, in time."""
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.seconds < HANGS
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert len(answer.headers["X-Request-Id"]) == 32
    said = answer.json
    assert (said["success"], said["result"]) == (False, None)
    assert set(said["error"]) <= {"code", "msg", "fields", "attempts_left", "retry_after"}
    assert isinstance(said["error"]["msg"], str)
    assert ("fields" in said["error"]) == (status == 422)


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """A server that listens, and the file that everything it logs goes to."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def say(self, raw: bytes, *, within: float = HANGS) -> Answer:
        """Send these bytes and nothing else, and read the answer. Raises OSError, also when there is none in time."""
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout=within) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # It has heard enough; the answer is there to read.
                connection.sendall(raw)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        seconds = time.monotonic() - began
        head, _, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
        status_line, _, headers = head.decode("ascii").partition("\r\n")
        if not status_line:
            raise ConnectionError("closed without an answer")
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
        """Send a body as JSON, whatever it is."""
        return self.request(method, target, "Content-Type: application/json", body=body)

    def is_ready(self) -> bool:
        """Whether it answers, and has all it needs."""
        try:
            return self.request("GET", "/health/ready").status == 200
        except OSError:
            return False


@pytest.fixture(scope="session")
def live(make_app: MakeApp, stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """gunicorn under `deploy/gunicorn.conf.py`, over the migrated stores of this run, without rate limits."""
    folder = tmp_path_factory.mktemp("live")  # as the working folder, too: no .env of a developer is there
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "APP_ENV": "test",
        "RATE_LIMITS": "off",
        "HTTP_PORT": str(port),
        "PUBLIC_URL": "http://127.0.0.1:5000",  # that of the other applications of the tests: tokens of theirs are good
        "DATABASE_URL": stores.database_url,
        "REDIS_URL": stores.redis_url,
        "DATA_DIR": str(folder / "data"),
        "CODE_KEY": CODE_KEY,
        "OUTBOX_KEY": OUTBOX_KEY,
        "SESSION_KEY": SESSION_KEY,
        "KEYRING_KEY": KEYRING_KEY,
        "CORS_ORIGINS": PORTAL,
        "DRAIN_SECONDS": "0",
        "LOG_LEVEL": "DEBUG",
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
        give_up_at = time.monotonic() + PATIENCE
        while not started.is_ready():
            assert server.poll() is None, started.log.read_text()
            assert time.monotonic() < give_up_at, started.log.read_text()
            time.sleep(0.05)
        yield started
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture
def nothing_is_lost(live: Live) -> Iterator[None]:
    """Whatever a test sends, the service answers afterwards, and still knows who was there before."""
    witness = live.send_json("POST", f"{USERS}/sign_up", json.dumps({"email": WITNESS}).encode())
    assert witness.status == 201
    yield
    found = live.request("GET", f"{USERS}?email={WITNESS}")
    assert (found.status, found.json["data"]) == (200, witness.json["data"])
    assert live.is_ready()


@pytest.fixture
def lasting_pauses(stores: Stores) -> Callable[[], None]:
    """Makes every pause that failed attempts have begun last an hour, so that none ends while a slow machine works."""

    def lengthen() -> None:
        with redis.Redis.from_url(stores.redis_url) as client:
            for key in client.scan_iter("throttle:*", _type="HASH"):
                if int(client.hget(key, "until") or 0):
                    client.hset(key, "until", int(time.time() * 1000) + 3_600_000)

    return lengthen


@pytest.fixture
def ada(api: ApiClient, mailbox: Mailbox) -> int:
    """Ada is a user of the portal, with a password."""
    return api.register(ADA, mailbox, password=PASSWORD)


@pytest.fixture
def token(ada: int, api: ApiClient) -> str:
    """Ada is signed in; this is her access token."""
    return str(api.signed_in(ADA, PASSWORD)["access_token"])
