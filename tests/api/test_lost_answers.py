"""What was done although its answer was a 503: a server that hung carries out what it was sent, COMMIT included.

Each request is sent twice. Of the first one everything is kept, and the database's word for that is lost; what the
second one is told is what docs/errors.md promises.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from auth_service.models.prepared import Row, Step
from auth_service.models.work import _Work
from tests.actors import Mailbox, Visitor, refusal
from tests.api.conftest import ADA, PASSWORD
from tests.api.test_races import outcome
from tests.conftest import Query
from tests.documents import ERRORS, section
from tests.test_house import contracts

NEW = "lovelace@example.org"
OTHER = "analytical engines hum"
FINE = (200, "")


@contextmanager
def lost() -> Iterator[None]:
    """Keeps whatever is committed meanwhile, and loses every word of it."""
    no_answer = OperationalError("", {}, psycopg2.OperationalError("the server did not answer in time"))
    commit, at_once = _Work.commit, _Work.at_once

    def committed(work: _Work) -> None:
        commit(work)
        raise no_answer

    def at_once_committed(work: _Work, steps: Sequence[Step]) -> list[Row]:
        rows = at_once(work, steps)
        if work._over:
            raise no_answer
        return rows

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_Work, "commit", committed)
        patched.setattr(_Work, "at_once", at_once_committed)
        yield


def repeated(request: Callable[[], TestResponse]) -> tuple[int, str]:
    """What somebody is told who sends a request again after a 503."""
    with lost():
        first = request()
    assert (first.status_code, refusal(first)["code"]) == (503, "database_away")
    return outcome(request())


@pytest.fixture
def tokens(ada: int, visitor: Visitor) -> dict[str, Any]:
    """Ada is signed in; both her tokens."""
    return visitor.signed_in(ADA, PASSWORD)


def test_a_registration(visitor: Visitor, mailbox: Mailbox) -> None:
    assert repeated(lambda: visitor.try_to_sign_up(ADA)) == (409, "email_taken")
    ada = visitor.look_up(ADA).get_json()["data"]["id"]

    assert repeated(lambda: visitor.ask_for_code(ada)) == FINE
    assert outcome(visitor.ask_again(ada)) == FINE
    assert outcome(visitor.confirm(ada, mailbox.code_sent_to(ADA))) == FINE

    assert repeated(lambda: visitor.finish(ada, password=PASSWORD)) == FINE


def test_a_sign_in(tokens: dict[str, Any], visitor: Visitor, mailbox: Mailbox) -> None:
    assert repeated(lambda: visitor.sign_in(ADA, PASSWORD)) == FINE
    devices = visitor.with_token(tokens["access_token"], "GET", "/me/sessions").get_json()["data"]
    assert len(devices) == 3, "one of them is nobody's"

    assert repeated(lambda: visitor.ask_to_sign_in(ADA)) == FINE
    code = mailbox.code_sent_to(ADA)
    assert repeated(lambda: visitor.sign_in_by_code(ADA, code)) == (401, "credentials_rejected")


def test_a_refresh(tokens: dict[str, Any], visitor: Visitor, query: Query) -> None:
    token = tokens["refresh_token"]

    assert repeated(lambda: visitor.refresh(token)) == FINE

    query("UPDATE sessions SET refreshed_at = now() - interval '31 seconds'")
    assert outcome(visitor.refresh(token)) == (401, "refresh_rejected")
    assert not visitor.is_signed_in(tokens["access_token"]), "who comes too late is taken for a thief"


def test_ending_sessions(token: str, visitor: Visitor) -> None:
    other = visitor.with_token(visitor.signed_in(ADA, PASSWORD)["access_token"], "GET", "/me/sessions").get_json()
    [session] = [each["id"] for each in other["data"] if each["current"]]

    assert repeated(lambda: visitor.with_token(token, "DELETE", f"/me/sessions/{session}")) == (404, "session_unknown")
    assert repeated(lambda: visitor.with_token(token, "DELETE", "/me/sessions")) == FINE
    assert repeated(lambda: visitor.with_token(token, "POST", "/sign_out")) == (401, "token_invalid")
    token = visitor.signed_in(ADA, PASSWORD)["access_token"]
    assert repeated(lambda: visitor.with_token(token, "POST", "/sign_out/everywhere")) == (401, "token_invalid")


def test_passwords(token: str, visitor: Visitor, mailbox: Mailbox) -> None:
    assert repeated(lambda: visitor.change_password(token, PASSWORD, OTHER)) == (403, "password_wrong")
    assert outcome(visitor.sign_in(ADA, OTHER)) == FINE

    assert repeated(lambda: visitor.ask_to_recover(ADA)) == FINE
    code = mailbox.code_sent_to(ADA)
    assert repeated(lambda: visitor.recover(ADA, code, PASSWORD)) == (404, "code_expired")
    assert outcome(visitor.sign_in(ADA, PASSWORD)) == FINE


def test_another_address_and_its_undo(token: str, visitor: Visitor, mailbox: Mailbox) -> None:
    assert repeated(lambda: visitor.ask_to_move(token, NEW, password=PASSWORD)) == FINE
    code = mailbox.code_sent_to(NEW)
    assert repeated(lambda: visitor.move(token, code)) == (404, "code_expired")
    assert visitor.with_token(token, "GET", "/me").get_json()["data"]["email"] == NEW

    undo = mailbox.undo_sent_to(ADA, about="address")
    assert repeated(lambda: visitor.undo(undo)) == (404, "undo_unknown")
    assert outcome(visitor.look_up(ADA)) == FINE


def test_leaving(token: str, visitor: Visitor) -> None:
    assert repeated(lambda: visitor.ask_to_leave(token)) == FINE
    assert repeated(lambda: visitor.leave(token, password=PASSWORD)) == (401, "token_invalid")


def test_clients_are_told_of_every_request_that_writes(app: Flask) -> None:
    told = set(re.findall(r"`((?:POST|PUT|PATCH|DELETE) /[^`]*)`", section(ERRORS, "Repeating requests")))

    writing = {
        f"{method} {re.sub(r'<[a-z_]+:(?:[a-z]+_)?id>', '{id}', rule).removeprefix('/api/v1/users')}"
        for method, rule, contract in contracts(app)
        if contract and method != "GET" and rule.startswith("/api/v1/users")
    }
    assert told == writing
