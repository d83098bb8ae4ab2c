"""What was done although its answer was a 503: a server that hung carries out what it was sent, COMMIT included.

Each request is sent twice. Of the first one everything is kept, and the database's word for that is lost; what the
second one is told is what docs/errors.md promises.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from auth_service.db import db
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.contracts import contracts
from tests.support.documents import ERRORS, section
from tests.support.races import outcome
from tests.support.stores import Query

Repeated = Callable[[Callable[[], TestResponse]], tuple[int, str]]

NEW = "lovelace@example.org"
OTHER = "analytical engines hum"
FINE = (200, "")


WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE)\b")


class LosingCursor(psycopg2.extensions.cursor):
    """Executes what it is told, and loses the answer to whatever commits a write."""

    def execute(self, query: Any, values: Any = None) -> None:
        super().execute(query, values)
        text = query.decode() if isinstance(query, bytes) else str(query)
        idle = self.connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
        if (
            idle
            and not text.startswith("PREPARE")
            and (text.endswith("COMMIT") or WRITES.search(text + self._prepared(text)))
        ):
            raise psycopg2.OperationalError("the server did not answer in time")

    def _prepared(self, text: str) -> str:
        with self.connection.cursor(cursor_factory=psycopg2.extensions.cursor) as cursor:
            cursor.execute(
                "SELECT string_agg(statement, '') FROM pg_prepared_statements WHERE strpos(%s, name) > 0", (text,)
            )
            [[found]] = cursor.fetchall()
        return found or ""


@contextmanager
def lost(app: Flask) -> Iterator[None]:
    """The answer to every COMMIT is lost."""

    def lose(connection: Any, *_: Any) -> None:
        connection.cursor_factory = LosingCursor

    with app.app_context():
        engine = db.engine

    def keep(connection: Any, *_: Any) -> None:
        if connection is not None:
            connection.cursor_factory = None

    event.listen(engine, "checkout", lose)
    event.listen(engine, "checkin", keep)
    try:
        yield
    finally:
        event.remove(engine, "checkout", lose)
        event.remove(engine, "checkin", keep)


@pytest.fixture
def repeated(app: Flask) -> Repeated:
    """What a client is told that sends a request again after a 503."""

    def repeat(request: Callable[[], TestResponse]) -> tuple[int, str]:
        with lost(app):
            first = request()
        assert (first.status_code, refusal(first)["code"]) == (503, "database_away")
        return outcome(request())

    return repeat


@pytest.fixture
def tokens(ada: int, api: ApiClient) -> dict[str, Any]:
    """Ada is signed in; both her tokens."""
    return api.signed_in(ADA, PASSWORD)


def test_a_registration(api: ApiClient, mailbox: Mailbox, repeated: Repeated) -> None:
    assert repeated(lambda: api.try_to_sign_up(ADA)) == (409, "email_taken")
    ada = api.look_up(ADA).get_json()["data"]["id"]

    assert repeated(lambda: api.ask_for_code(ada)) == FINE
    assert outcome(api.ask_again(ada)) == FINE
    assert outcome(api.confirm(ada, mailbox.code_sent_to(ADA))) == FINE

    assert repeated(lambda: api.finish(ada, password=PASSWORD)) == FINE


def test_a_sign_in(tokens: dict[str, Any], api: ApiClient, mailbox: Mailbox, repeated: Repeated) -> None:
    assert repeated(lambda: api.sign_in(ADA, PASSWORD)) == FINE
    devices = api.with_token(tokens["access_token"], "GET", "/me/sessions").get_json()["data"]
    assert len(devices) == 3, "one of them is nobody's"

    assert repeated(lambda: api.ask_to_sign_in(ADA)) == FINE
    code = mailbox.code_sent_to(ADA)
    assert repeated(lambda: api.sign_in_by_code(ADA, code)) == (401, "credentials_rejected")


def test_a_refresh(tokens: dict[str, Any], api: ApiClient, query: Query, repeated: Repeated) -> None:
    token = tokens["refresh_token"]

    assert repeated(lambda: api.refresh(token)) == FINE

    query("UPDATE sessions SET refreshed_at = now() - interval '31 seconds'")
    assert outcome(api.refresh(token)) == (401, "refresh_rejected")
    assert not api.is_signed_in(tokens["access_token"]), "who comes too late is taken for a thief"


def test_ending_sessions(token: str, api: ApiClient, repeated: Repeated) -> None:
    other = api.with_token(api.signed_in(ADA, PASSWORD)["access_token"], "GET", "/me/sessions").get_json()
    [session] = [each["id"] for each in other["data"] if each["current"]]

    assert repeated(lambda: api.with_token(token, "DELETE", f"/me/sessions/{session}")) == (404, "session_unknown")
    assert repeated(lambda: api.with_token(token, "DELETE", "/me/sessions")) == FINE
    assert repeated(lambda: api.with_token(token, "POST", "/sign_out")) == (401, "token_invalid")
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    assert repeated(lambda: api.with_token(token, "POST", "/sign_out/everywhere")) == (401, "token_invalid")


def test_passwords(token: str, api: ApiClient, mailbox: Mailbox, repeated: Repeated) -> None:
    assert repeated(lambda: api.change_password(token, PASSWORD, OTHER)) == (403, "password_wrong")
    assert outcome(api.sign_in(ADA, OTHER)) == FINE

    assert repeated(lambda: api.ask_to_recover(ADA)) == FINE
    code = mailbox.code_sent_to(ADA)
    assert repeated(lambda: api.recover(ADA, code, PASSWORD)) == (404, "code_expired")
    assert outcome(api.sign_in(ADA, PASSWORD)) == FINE


def test_another_address_and_its_undo(token: str, api: ApiClient, mailbox: Mailbox, repeated: Repeated) -> None:
    assert repeated(lambda: api.ask_to_move(token, NEW, password=PASSWORD)) == FINE
    code = mailbox.code_sent_to(NEW)
    assert repeated(lambda: api.move(token, code)) == (404, "code_expired")
    assert api.with_token(token, "GET", "/me").get_json()["data"]["email"] == NEW

    undo = mailbox.undo_sent_to(ADA, about="address")
    assert repeated(lambda: api.undo(undo)) == (404, "undo_unknown")
    assert outcome(api.look_up(ADA)) == FINE


def test_leaving(token: str, api: ApiClient, repeated: Repeated) -> None:
    assert repeated(lambda: api.ask_to_leave(token)) == FINE
    assert repeated(lambda: api.leave(token, password=PASSWORD)) == (401, "token_invalid")


def test_clients_are_told_of_every_request_that_writes(app: Flask) -> None:
    told = set(re.findall(r"`((?:POST|PUT|PATCH|DELETE) /[^`]*)`", section(ERRORS, "Repeating requests")))

    writing = {
        f"{method} {re.sub(r'<[a-z_]+:(?:[a-z]+_)?id>', '{id}', rule).removeprefix('/api/v1/users')}"
        for method, rule, contract in contracts(app)
        if contract and method != "GET" and rule.startswith("/api/v1/users")
    }
    assert told == writing
