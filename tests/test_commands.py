"""`manage.py` commands: maintenance, mail, documents and signals, as an operator runs them."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.cli.docs import docs
from auth_service.cli.mail import mail
from auth_service.cli.mail_worker import MailWorker
from auth_service.cli.maintenance import maintenance
from auth_service.embedded import supervisor
from auth_service.settings import SECRETS, Settings
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.commands import MANAGE, bare_environment, environment_of, until
from tests.support.stores import Query, Stores


@pytest.fixture
def environment(stores: Stores, tmp_path: Path) -> dict[str, str]:
    """The environment of a command in its own process, with the stores of the tests."""
    return environment_of(stores, tmp_path / "data")


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """Runs commands over the application of the tests."""
    return app.test_cli_runner()


@pytest.mark.clock
def test_maintenance_deletes_users_who_never_confirmed_their_address(
    app: Flask, runner: FlaskCliRunner, stores: Stores
) -> None:
    api = ApiClient(app)
    expired, fresh = api.sign_up("stale@example.org"), api.sign_up("fresh@example.org")
    user = api.sign_up("person@example.org")
    api.ask_for_code(user, 7505)
    api.confirm(user, 7505)
    api.finish(user)
    with psycopg2.connect(stores.database_url.replace("+psycopg2", "")) as connection:
        connection.cursor().execute(
            "UPDATE users SET created_at = now() - interval '8 days' WHERE id IN (%s, %s)", (expired, user)
        )
    connection.close()

    result = runner.invoke(maintenance)

    assert result.output == (
        "deleted 1 temporary users, 0 email records, 0 ended sessions, 0 account revert links, 0 invitations and "
        "0 idempotency keys\n"
    )
    assert api.look_up("stale@example.org").status_code == 404
    assert api.look_up("fresh@example.org").json["data"]["id"] == fresh  # type: ignore[index]
    assert api.look_up("person@example.org").status_code == 200


def test_backlog_prints_the_state_of_the_outbox(app: Flask, runner: FlaskCliRunner) -> None:
    api = ApiClient(app)
    api.ask_for_code(api.sign_up("ada@example.org"), 7505)

    assert runner.invoke(mail, ["backlog"]).output == "waiting 1, oldest due for 0 s, dead today 0\n"


def test_the_mailer_delivers_and_stops_on_a_signal(app: Flask, services: Services, tmp_path: Path) -> None:
    api = ApiClient(app)
    inbox = DevInbox(tmp_path / "inbox")
    stop = threading.Event()
    worker = MailWorker(enter=app.app_context, delivery=services.delivery, transport=inbox, senders=2, stop=stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        for number in range(5):
            api.ask_for_code(api.sign_up(f"ada{number}@example.org"), 7505)
        until(lambda: len(inbox.messages()) == 5)
    finally:
        stop.set()
        thread.join(10)

    assert not thread.is_alive()
    assert len({message.message_id for message in inbox.messages()}) == 5


@pytest.mark.slow
def test_mail_deliver_is_a_process_of_its_own(
    app: Flask, environment: dict[str, str], tmp_path: Path, query: Query
) -> None:
    """It also carries out delayed resets of second factors (SF11)."""
    # The process would create its own secrets in its data folder; it has to use those of this application.
    environment |= {name.upper(): app.extensions["auth_service"].settings.secret(name) for name in SECRETS}
    api = ApiClient(app)
    user_id = api.sign_up("ada@example.org")
    api.ask_for_code(user_id, 7505)
    query(
        "INSERT INTO second_factor_resets VALUES (%s, gen_random_uuid(), now(), now(), sha256(''), 0, 0) RETURNING 1",
        user_id,
    )
    inbox = DevInbox(tmp_path / "data" / "inbox")

    process = subprocess.Popen([sys.executable, str(MANAGE), "mail", "deliver"], env=environment, cwd=tmp_path)
    try:
        until(lambda: len(inbox.messages()) == 2)
    finally:
        process.send_signal(signal.SIGTERM)

    assert process.wait(10) == 0
    assert {message.code for message in inbox.messages()} == {"7505", None}
    assert query("SELECT count(*) FROM events WHERE kind = 'second_factor.reset'") == [(1,)]


@pytest.mark.slow
def test_an_invalid_setting_is_reported_without_a_traceback(tmp_path: Path) -> None:
    environment = bare_environment(APP_ENV="production")

    result = subprocess.run(
        [sys.executable, str(MANAGE), "api"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert "DATABASE_URL: needed in production" in result.stderr
    assert "Traceback" not in result.stderr


def test_docs_check_finds_a_stale_table(runner: FlaskCliRunner, tmp_path: Path) -> None:
    page = tmp_path / "settings.md"
    page.write_text("# Settings\n<!-- settings -->\nold\n<!-- /settings -->\nafter\n")
    folder = ["--folder", str(tmp_path)]

    assert runner.invoke(docs, ["--check", *folder]).exit_code == 1
    assert runner.invoke(docs, folder).output == "docs/settings.md: written\ndocs/openapi.json: written\n"
    assert runner.invoke(docs, ["--check", *folder]).exit_code == 0
    text = page.read_text()
    assert text.startswith("# Settings\n<!-- settings -->\n| setting ")
    assert text.endswith("<!-- /settings -->\nafter\n")
    assert "| `CODE_LIFETIME_SECONDS` | `600` |" in text


def test_docs_names_the_document_that_quotes_missing_code(runner: FlaskCliRunner, tmp_path: Path) -> None:
    (tmp_path / "architecture.md").write_text("<!-- code: src/auth_service/app.py removed -->\n```python\n```\n")

    result = runner.invoke(docs, ["--check", "--folder", str(tmp_path)])

    assert result.exit_code == 1
    assert "architecture.md: quotes removed, which app.py does not define" in result.output


def test_an_unavailable_database_is_reported_without_its_password(
    make_settings: Callable[..., Settings],
) -> None:
    unavailable = make_settings(database_url="postgresql://auth:secret@127.0.0.1:9/unavailable")

    with pytest.raises(SystemExit, match="refused the connection") as ended:
        supervisor._wait_for_engines(unavailable, within=0.0)
    assert "127.0.0.1:9" in str(ended.value)
    assert "secret" not in str(ended.value)


INTERRUPTED = """
import os, signal, sys, time

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "auth_service.embedded.supervisor":
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            except KeyboardInterrupt:
                sys.exit("lost")

sys.meta_path.insert(0, Interrupting())
from auth_service.cli import main
main()
"""
"""A Ctrl-C during an import that swallows the KeyboardInterrupt."""


def test_a_ctrl_c_during_an_import_ends_the_process(tmp_path: Path) -> None:
    environment = {"PATH": os.defpath, "PYTHONPATH": str(MANAGE.parent / "src"), "APP_ENV": "test"}
    command = [sys.executable, "-c", INTERRUPTED, "api"]

    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == -signal.SIGINT, ended.stderr


def test_a_stop_signal_during_logging_is_not_swallowed() -> None:
    class Interrupted(logging.StreamHandler[Any]):
        def format(self, record: logging.LogRecord) -> str:
            raise supervisor.Stopped

    log = logging.getLogger("auth_service.of_a_test")
    log.addHandler(interrupted := Interrupted())
    try:
        with pytest.raises(supervisor.Stopped):
            log.warning("postgres started")
    finally:
        log.removeHandler(interrupted)
