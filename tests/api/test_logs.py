"""Logs: JSON lines with request ids, without secrets, personal data or other user input."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from flask import Flask

from auth_service import logs
from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.app import create_app
from auth_service.settings import Settings
from tests.support.actors import USERS, ApiClient, Mailbox
from tests.support.application import MakeApp, forget
from tests.support.live import Live
from tests.support.stores import CODE_KEY, KEYRING_KEY, OUTBOX_KEY, SESSION_KEY, Stores

EMAIL = "ada.lovelace@example.org"
PASSWORD = "a-passphrase-to-look-for"
WRONG = "73194682"


class Log:
    """The log output since the capture began."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def contains_none_of(self, *secrets: str) -> None:
        for secret in secrets:
            assert len(secret) >= 4
            assert secret not in self.text


@pytest.fixture
def log(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Log]]:
    """Captures at level DEBUG from its call on, because creating an application configures logging again."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def capture() -> Log:
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        logs.configure(level="DEBUG")
        return Log(stream)

    yield capture
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("profile", ["production", "test"])
def test_lg1_a_registration_logs_no_secret(
    make_app: MakeApp, log: Callable[[], Log], tmp_path: Any, profile: str
) -> None:
    app = make_app(app_env=profile)
    mailbox = Mailbox(app, DevInbox(tmp_path / "inbox"))
    api = ApiClient(app, address="203.0.113.77")
    captured = log()

    api.look_up(EMAIL)
    ada = api.sign_up(EMAIL)
    api.ask_for_code(ada, WRONG)
    first = mailbox.code_sent_to(EMAIL)
    api.confirm(ada, WRONG)
    api.ask_again(ada)
    code = mailbox.code_sent_to(EMAIL)
    api.call("PUT", f"/{ada}/mail", json={"code": code})
    api.finish(ada, password=PASSWORD)
    api.finish(ada, password=f"not {PASSWORD}")
    cookie = api.client.get_cookie("__Host-registration" if profile == "production" else "registration")

    assert cookie is not None
    captured.contains_none_of(
        EMAIL, EMAIL.partition("@")[0], first, WRONG, code, PASSWORD, cookie.value, "203.0.113.77"
    )
    captured.contains_none_of(
        "code=", "email=", "registration=", CODE_KEY, OUTBOX_KEY, SESSION_KEY, KEYRING_KEY, "argon2id", str(ada)
    )
    answered = [line for line in captured.lines if line["message"] == "answered"]
    assert len(answered) == 8
    assert len({line["request_id"] for line in answered}) == 8
    assert {"at", "level", "logger", "method", "route", "status", "ms"} <= answered[0].keys()
    assert all(("refusal" in line) == (line["status"] >= 400) for line in answered)
    assert answered[0]["refusal"] == "user_unknown"


def test_lg1_a_rejected_request_logs_no_secret(app: Flask, log: Callable[[], Log]) -> None:
    client = app.test_client()
    captured = log()
    headers = {
        "Cookie": f"registration={PASSWORD}; other={PASSWORD}",
        "Authorization": f"Bearer {PASSWORD}",
        "User-Agent": PASSWORD,
        "Referer": f"https://example.org/{PASSWORD}",
        "X-Request-Id": f"<{PASSWORD}>",
    }
    sent: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"{USERS}?email={EMAIL}", {}),
        ("GET", f"{USERS}?email={EMAIL}&x={PASSWORD}", {}),
        ("GET", f"/{PASSWORD}?{PASSWORD}", {}),
        (PASSWORD, USERS, {}),
        ("POST", f"{USERS}/sign_up", {"json": {"email": f"{PASSWORD}@"}}),
        ("POST", f"{USERS}/sign_up", {"data": f'{{"email":"{EMAIL}"', "content_type": "application/json"}),
        ("POST", f"{USERS}/sign_up", {"data": PASSWORD, "content_type": f"text/{PASSWORD}"}),
        ("PUT", f"{USERS}/1/mail?code={WRONG}", {}),
        ("PATCH", f"{USERS}/1/sign_up", {"json": {"password": PASSWORD, PASSWORD: 1}}),
    ]
    for method, path, options in sent:
        assert 400 <= client.open(path, method=method, headers=headers, **options).status_code < 500

    assert len([line for line in captured.lines if line["message"] == "answered"]) == len(sent)
    captured.contains_none_of(PASSWORD, PASSWORD.upper(), EMAIL, WRONG)


def test_lg1_an_internal_error_logs_a_traceback_and_no_secret(
    app: Flask, log: Callable[[], Log], stores: Stores
) -> None:
    """The error of PostgreSQL contains the row that violates a constraint, and that of SQLAlchemy the parameters."""
    captured = log()
    constraint = "ALTER TABLE users ADD CONSTRAINT rejected CHECK (email_key NOT LIKE 'ada%')"
    with psycopg2.connect(stores.database_url.replace("+psycopg2", "")) as connection:
        connection.cursor().execute(constraint)
    try:
        response = ApiClient(app).call(
            "POST", "/sign_up", json={"email": EMAIL}, headers={"X-Request-Id": "a-crash-of-ours"}
        )
    finally:
        with connection:
            connection.cursor().execute("ALTER TABLE users DROP CONSTRAINT rejected")
        connection.close()

    assert response.status_code == 500
    [crash] = [line for line in captured.lines if line["message"] == "crashed"]
    assert crash["request_id"] == response.headers["X-Request-Id"] == "a-crash-of-ours"
    assert "in sign_up" in crash["exc_info"]
    assert "CheckViolation" in crash["exc_info"]
    captured.contains_none_of(EMAIL, EMAIL.partition("@")[0])


def test_lg1_an_unavailable_dependency_logs_no_secret(
    make_settings: Callable[..., Settings], make_app: MakeApp, log: Callable[[], Log]
) -> None:
    unavailable = create_app(
        make_settings(
            database_url=f"postgresql://auth:{PASSWORD}@127.0.0.1:9/auth",
            redis_url=f"redis://:{PASSWORD}@127.0.0.1:9/0",
        )
    )
    captured = log()

    statuses = [
        ApiClient(unavailable).look_up(EMAIL).status_code,
        ApiClient(unavailable).try_to_sign_up(EMAIL).status_code,
    ]
    statuses.append(unavailable.test_client().get("/health/ready").status_code)
    forget(unavailable)

    assert statuses == [503] * 3
    assert {"the database does not answer", "redis does not answer"} <= {line["message"] for line in captured.lines}
    captured.contains_none_of(PASSWORD, EMAIL)


def test_lg1_malformed_http_logs_no_secret_in_the_server_log(live: Live) -> None:
    offset = live.log.stat().st_size
    get = f"GET {USERS}?email={EMAIL}&code={WRONG} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: a={PASSWORD}\r\n"
    statuses = [
        live.say(raw.encode()).status
        for raw in (
            f"{get}\r\n",
            f"{get}X-A: a\0{PASSWORD}\r\n\r\n",
            f"{get}{PASSWORD}\r\n\r\n",
            f"{get}Transfer-Encoding: {PASSWORD}\r\n\r\n",
            f"{get}Expect: {PASSWORD}\r\n\r\n",
            f"{get}X-A: {PASSWORD * 1000}\r\n\r\n",
            f"GET /{PASSWORD * 1000} HTTP/1.1\r\n\r\n",
            f"GET /{PASSWORD} {PASSWORD} HTTP/1.1\r\n\r\n",
            f"GET / {PASSWORD}\r\n\r\n",
            f"{PASSWORD}\r\n\r\n",
            f"PUT {USERS}/1/mail HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{PASSWORD}\r\n",
        )
    ]

    assert statuses == [422, 400, 400, 400, 400, 431, 414, 400, 400, 400, 400]
    with live.log.open("rb") as log:
        log.seek(offset)
        text = log.read().decode()
    assert all(json.loads(line) for line in text.splitlines())
    assert text.count("request not understood") >= 9
    for secret in (PASSWORD, EMAIL, WRONG):
        assert secret not in text
