"""Lost COMMIT responses: a request is committed although the client receives a 503, and the client retries it.

Each request is sent twice. The first one is committed, but the database connection fails before it returns the
response to COMMIT. The response to the second one is what docs/errors.md promises.
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

pytestmark = pytest.mark.slow

Repeated = Callable[[Callable[[], TestResponse]], tuple[int, str]]

NEW = "lovelace@example.org"
OTHER = "analytical engines hum"
OK = (200, "")


WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE)\b")


class LosingCursor(psycopg2.extensions.cursor):
    """Executes every statement, and loses the response to a commit of a write."""

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
            [[prepared]] = cursor.fetchall()
        return prepared or ""


@contextmanager
def lost(app: Flask) -> Iterator[None]:
    """The response to every COMMIT is lost."""

    def use_losing_cursor(connection: Any, *_: Any) -> None:
        connection.cursor_factory = LosingCursor

    with app.app_context():
        engine = db.engine

    def restore_cursor(connection: Any, *_: Any) -> None:
        if connection is not None:
            connection.cursor_factory = None

    event.listen(engine, "checkout", use_losing_cursor)
    event.listen(engine, "checkin", restore_cursor)
    try:
        yield
    finally:
        event.remove(engine, "checkout", use_losing_cursor)
        event.remove(engine, "checkin", restore_cursor)


@pytest.fixture
def repeated(app: Flask) -> Repeated:
    """The outcome of a request that a client retries after a 503."""

    def repeat(request: Callable[[], TestResponse]) -> tuple[int, str]:
        with lost(app):
            first = request()
        assert (first.status_code, refusal(first)["code"]) == (503, "database_away")
        return outcome(request())

    return repeat


@pytest.fixture
def tokens(ada: int, api: ApiClient) -> dict[str, Any]:
    """The tokens of a signed-in user."""
    return api.signed_in(ADA, PASSWORD)


PARAMETER = re.compile(r"<[a-z_]+:(?:[a-z]+_)?(id|name)>")
"""A parameter of a route; its name without a prefix."""


def test_retries_during_a_registration(api: ApiClient, mailbox: Mailbox, repeated: Repeated) -> None:
    assert repeated(lambda: api.try_to_sign_up(ADA)) == (409, "email_taken")
    ada = api.look_up(ADA).get_json()["data"]["id"]

    assert repeated(lambda: api.ask_for_code(ada)) == OK
    assert outcome(api.ask_again(ada)) == OK
    assert outcome(api.confirm(ada, mailbox.code_sent_to(ADA))) == OK

    assert repeated(lambda: api.finish(ada, password=PASSWORD)) == OK


def test_retries_of_a_sign_in(tokens: dict[str, Any], api: ApiClient, mailbox: Mailbox, repeated: Repeated) -> None:
    assert repeated(lambda: api.sign_in(ADA, PASSWORD)) == OK
    devices = api.with_token(tokens["access_token"], "GET", "/me/sessions").get_json()["data"]
    assert len(devices) == 3, "the request with the lost response has opened a session too"

    assert repeated(lambda: api.ask_to_sign_in(ADA)) == OK
    code = mailbox.code_sent_to(ADA)
    assert repeated(lambda: api.sign_in_by_code(ADA, code)) == (401, "credentials_rejected")


def test_retries_of_a_refresh(tokens: dict[str, Any], api: ApiClient, query: Query, repeated: Repeated) -> None:
    token = tokens["refresh_token"]

    assert repeated(lambda: api.refresh(token)) == OK

    query("UPDATE sessions SET refreshed_at = now() - interval '31 seconds'")
    assert outcome(api.refresh(token)) == (401, "refresh_rejected")
    assert not api.is_signed_in(tokens["access_token"]), "late reuse of a refresh token revokes the session"


def test_retries_of_session_revocations(token: str, api: ApiClient, repeated: Repeated) -> None:
    other = api.with_token(api.signed_in(ADA, PASSWORD)["access_token"], "GET", "/me/sessions").get_json()
    [session] = [entry["id"] for entry in other["data"] if entry["current"]]

    assert repeated(lambda: api.with_token(token, "DELETE", f"/me/sessions/{session}")) == (404, "session_unknown")
    assert repeated(lambda: api.with_token(token, "DELETE", "/me/sessions")) == OK
    assert repeated(lambda: api.with_token(token, "POST", "/sign_out")) == (401, "token_invalid")
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    assert repeated(lambda: api.with_token(token, "POST", "/sign_out/everywhere")) == (401, "token_invalid")


def test_retries_of_a_password_change_and_a_password_reset(
    token: str, api: ApiClient, mailbox: Mailbox, repeated: Repeated
) -> None:
    assert repeated(lambda: api.change_password(token, PASSWORD, OTHER)) == (403, "password_wrong")
    assert outcome(api.sign_in(ADA, OTHER)) == OK

    assert repeated(lambda: api.ask_to_recover(ADA)) == OK
    code = mailbox.code_sent_to(ADA)
    assert repeated(lambda: api.recover(ADA, code, PASSWORD)) == (404, "code_expired")
    assert outcome(api.sign_in(ADA, PASSWORD)) == OK


def test_retries_of_an_address_change_and_its_revert(
    token: str, api: ApiClient, mailbox: Mailbox, repeated: Repeated
) -> None:
    assert repeated(lambda: api.ask_to_move(token, NEW, password=PASSWORD)) == OK
    code = mailbox.code_sent_to(NEW)
    assert repeated(lambda: api.move(token, code)) == (404, "code_expired")
    assert api.with_token(token, "GET", "/me").get_json()["data"]["email"] == NEW

    revert_token = mailbox.undo_sent_to(ADA, about="address")
    assert repeated(lambda: api.undo(revert_token)) == (404, "undo_unknown")
    assert outcome(api.look_up(ADA)) == OK


def test_retries_of_a_deletion(token: str, api: ApiClient, repeated: Repeated) -> None:
    assert repeated(lambda: api.ask_to_leave(token)) == OK
    assert repeated(lambda: api.leave(token, password=PASSWORD)) == (401, "token_invalid")


def test_the_documentation_lists_every_request_that_writes(app: Flask) -> None:
    documented = set(re.findall(r"`((?:POST|PUT|PATCH|DELETE) /[^`]*)`", section(ERRORS, "Repeating requests")))

    writing = {
        method + " " + PARAMETER.sub(r"{\1}", rule).removeprefix("/api/v1/users")
        for method, rule, contract in contracts(app)
        if contract and method != "GET" and rule.startswith("/api/v1/users")
    }
    assert documented == writing
