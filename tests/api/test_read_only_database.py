"""A database that accepts no writes (SQLSTATE 25006): writes are 503, reads and token checks go on, no restart."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.api.http import metrics
from auth_service.cli.mail_worker import MailWorker
from auth_service.cli.maintenance import MaintenanceThread
from auth_service.db import db
from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp, forget
from tests.support.service_client import Shop, made_key
from tests.support.stores import Stores

pytestmark = pytest.mark.slow


@pytest.fixture
def served(make_app: MakeApp) -> Flask:
    """An application of its own, whose connections no other test has opened."""
    app = make_app(rate_limits="off", database_connections=3)
    forget(app)
    return app


@contextmanager
def read_only(app: Flask, stores: Stores) -> Iterator[None]:
    """The database accepts no writes in the connections that are open, and in new ones."""

    def alter(setting: str) -> None:
        connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute("SELECT current_database()")
            [(name,)] = cursor.fetchall()
            cursor.execute(f'ALTER DATABASE "{name}" {setting}')
        connection.close()

    with app.app_context(), ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(db.engine.connect())
            connection.execute(text("SET default_transaction_read_only = on"))
    alter("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        alter("RESET default_transaction_read_only")


def test_writes_are_unavailable_and_reads_and_token_checks_go_on(served: Flask, stores: Stores, tmp_path: Path) -> None:
    api, mailbox = ApiClient(served), Mailbox(served, DevInbox(tmp_path))
    ada = api.register(ADA, mailbox, password=PASSWORD)
    pair = api.signed_in(ADA, PASSWORD)
    token = str(pair["access_token"])
    grace = api.sign_up("grace@example.org")
    key = made_key(served, "tokens:introspect", "sessions:verify")  # never used: the use would be recorded

    writes: dict[str, Callable[[], TestResponse]] = {
        "sign_up": lambda: api.call("POST", "/sign_up", json={"email": "eve@example.org"}),
        "send_code": lambda: api.ask_for_code(grace),
        "sign_in": lambda: api.sign_in(ADA, PASSWORD),
        "failed sign_in": lambda: api.sign_in(ADA, "a wrong password"),
        "sign_in of no user": lambda: api.sign_in("unknown@example.org", "a wrong password"),
        "sign_in code": lambda: api.ask_to_sign_in(ADA),
        "sign_in code of no user": lambda: api.ask_to_sign_in("unknown@example.org"),
        "refresh": lambda: api.refresh(str(pair["refresh_token"])),
        "sign_out": lambda: api.with_token(token, "POST", "/sign_out"),
        "password": lambda: api.change_password(token, PASSWORD, f"{PASSWORD} staple"),
        "new address": lambda: api.ask_to_move(token, "ada@elsewhere.org", password=PASSWORD),
        "export, an event of the audit log": lambda: api.with_token(token, "GET", "/me/export"),
        "delete": lambda: api.leave(token, password=PASSWORD),
    }
    reads: dict[str, Callable[[], TestResponse]] = {
        "look_up": lambda: api.look_up(ADA),
        "me": lambda: api.with_token(token, "GET", "/me"),
        "sessions": lambda: api.with_token(token, "GET", "/me/sessions"),
        "history": lambda: api.with_token(token, "GET", "/me/login_history"),
        "introspection": lambda: Shop(served, key.value).ask(token),
        "forward auth": lambda: served.test_client().get(
            "/api/v1/sessions/verify", headers={"Authorization": f"Bearer {token}", "X-Service-Key": key.value}
        ),
        "keys": lambda: served.test_client().get("/.well-known/jwks.json"),
        "live": lambda: served.test_client().get("/health/live"),
    }
    with read_only(served, stores):
        for _ in range(2):
            for name, write in writes.items():
                check_unavailable(name, write())
            for name, read in reads.items():
                answer = read()
                assert answer.status_code == 200, (name, answer.text)
        assert reads["me"]().json["data"]["id"] == ada  # type: ignore[index]
        readiness = served.test_client().get("/health/ready")
        assert (readiness.status_code, readiness.json) == (
            200,
            {"success": True, "result": "Ok", "data": {"database": "read_only"}},
        )
        assert gauges(served) == {"auth_database_up": 1, "auth_database_writable": 0}

    answers = [api.call("POST", "/sign_up", json={"email": f"eve{number}@example.org"}) for number in range(4)]
    assert [answer.status_code for answer in answers][1:] == [201] * 3, "a refused write discards its connection"
    assert api.refresh(str(pair["refresh_token"])).status_code == 200
    assert served.test_client().get("/health/ready").json == {"success": True, "result": "Ok"}
    assert gauges(served) == {"auth_database_up": 1, "auth_database_writable": 1}


def check_unavailable(name: str, answer: TestResponse) -> None:
    """The answer to a write."""
    assert (answer.status_code, refusal(answer)["code"]) == (503, "database_read_only"), (name, answer.text)
    assert int(answer.headers["Retry-After"]) >= 1


def gauges(app: Flask) -> dict[str, float]:
    """The gauges about the database."""
    values = {gauge.name: gauge.samples[0].value for gauge in metrics.OutboxCollector(app).collect()}
    return {name: value for name, value in values.items() if name.startswith("auth_database")}


def test_reads_find_a_writable_server_again_without_any_write(served: Flask, stores: Stores) -> None:
    client = served.test_client()
    with read_only(served, stores):
        assert client.get("/health/ready").json["data"] == {"database": "read_only"}  # type: ignore[index]

    time.sleep(2.1)  # for so long a connection to a server that accepts no writes is used

    assert "data" not in client.get("/health/ready").json  # type: ignore[operator]


def test_the_mail_worker_and_the_maintenance_log_one_line_and_go_on(
    served: Flask, stores: Stores, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api, services = ApiClient(served), _services(served)
    api.ask_for_code(api.sign_up(ADA))
    inbox, stop = DevInbox(tmp_path), threading.Event()
    worker = MailWorker(enter=served.app_context, delivery=services.delivery, transport=inbox, senders=1, stop=stop)
    maintenance = MaintenanceThread(enter=served.app_context, maintenance=services.maintenance, stop=stop)
    thread = threading.Thread(target=worker.run)
    with caplog.at_level(logging.INFO):
        with read_only(served, stores):
            thread.start()
            time.sleep(2.5)
            maintenance._run_once()
            assert inbox.messages() == []
        within(20, lambda: bool(inbox.messages()))
        stop.set()
        thread.join()

    lines = [record.getMessage() for record in caplog.records]
    assert [record for record in caplog.records if record.exc_info] == []
    assert lines.count("the mail worker waits for a dependency") == 1
    assert lines.count("the database accepts no writes") <= 2
    assert lines.count("the maintenance waits for a dependency") == 1
    assert "the mail worker goes on" in lines


def test_an_email_that_was_claimed_before_is_not_sent_twice(served: Flask, stores: Stores, tmp_path: Path) -> None:
    api, services, inbox = ApiClient(served), _services(served), DevInbox(tmp_path)
    api.ask_for_code(api.sign_up(ADA))
    with served.app_context():
        [message] = services.delivery.claim(at_most=1)
        with read_only(served, stores), pytest.raises(Exception, match="no changes"):
            services.delivery.deliver(message, transport=inbox)
    assert inbox.messages() == []


def _services(app: Flask) -> Services:
    services: Services = app.extensions["auth_service"]
    return services


def within(seconds: float, condition: object) -> None:
    """Wait for a condition."""
    give_up_at = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
