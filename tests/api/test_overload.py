"""Too much to do, and mistakes of our own: a clear answer in time, and nothing about the inside."""

import logging
import time
from hashlib import pbkdf2_hmac

import pytest
from flask import Flask
from sqlalchemy import text

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from auth_service.db import db
from auth_service.errors import ServiceBusy
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.crowds import occupied

LONG = 15.0
"""Seconds: far more than a budget, however slow the machine is, and far less than waiting without one takes."""


def test_a_request_without_a_connection_is_told_to_come_back(make_app: MakeApp) -> None:
    app = make_app(database_connections=1)
    api = ApiClient(app)
    with app.app_context():
        taken = db.engine.connect()
    try:
        began = time.monotonic()
        answer = api.look_up("ada@example.org")
        waited = time.monotonic() - began
    finally:
        taken.close()

    assert answer.status_code == 503
    assert refusal(answer)["code"] == "service_busy"
    assert answer.headers["Retry-After"] == "1"
    assert waited < LONG
    assert api.look_up("ada@example.org").status_code == 404


def test_tk13_whose_token_cannot_be_looked_up_is_told_to_come_back(make_app: MakeApp, mailbox: Mailbox) -> None:
    app = make_app(database_connections=1)
    ada = ApiClient(app)
    ada.register("ada@example.org", mailbox, password="correct horse battery")
    token = ada.signed_in("ada@example.org", "correct horse battery")["access_token"]
    with app.app_context():
        taken = db.engine.connect()
    try:
        answers = [ada.with_token(token, "GET", "/me"), ada.with_token(token, "POST", "/sign_out")]
    finally:
        taken.close()

    assert {(answer.status_code, refusal(answer)["code"]) for answer in answers} == {(503, "service_busy")}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
    assert ada.with_token(token, "GET", "/me").status_code == 200


def test_a_statement_that_takes_too_long_is_ended(make_app: MakeApp, api: ApiClient) -> None:
    app = make_app()
    ada = api.sign_up("ada@example.org")
    with app.app_context(), db.engine.connect() as blocker:
        blocker.exec_driver_sql("BEGIN")  # connections are in autocommit
        blocker.execute(text("SELECT 1 FROM users WHERE id = :id FOR UPDATE"), {"id": ada})
        api.ask_for_code(ada, 7505)
        api.confirm(ada, 7505)
        began = time.monotonic()
        answer = api.finish(ada)
        waited = time.monotonic() - began
        blocker.exec_driver_sql("ROLLBACK")

    assert (answer.status_code, refusal(answer)["code"]) == (503, "database_away")
    assert waited < LONG
    assert api.finish(ada).status_code == 200, "trying again converges"


def test_pw6_passwords_wait_for_their_turn_but_not_for_ever() -> None:
    with occupied(hasher := PasswordHasher(at_once=1, waiting=0)), pytest.raises(ServiceBusy) as busy:
        hasher.hash("correct horse battery")
    assert busy.value.retry_after == 2
    assert hasher.verify("correct horse battery", hasher.hash("correct horse battery")).matches


def test_pw5_a_hash_that_cannot_be_renewed_now_is_renewed_at_the_next_sign_in(
    app: Flask, api: ApiClient, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.register("ada@example.org", mailbox, password="correct horse battery")
    of_another_system = (
        "pbkdf2:sha256:1000$salt$" + pbkdf2_hmac("sha256", b"correct horse battery", b"salt", 1000).hex()
    )
    services: Services = app.extensions["auth_service"]
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(
            text("UPDATE users SET password_hash = :password_hash"), {"password_hash": of_another_system}
        )

    def kept() -> str:
        with app.app_context(), db.engine.connect() as connection:
            return str(connection.execute(text("SELECT password_hash FROM users")).scalar_one())

    def hash_nothing(password: str) -> str:
        raise ServiceBusy(retry_after=2)

    with monkeypatch.context() as busy:
        busy.setattr(services.sign_in.passwords.hasher, "hash", hash_nothing)
        assert api.sign_in("ada@example.org", "correct horse battery").status_code == 200
    assert kept() == of_another_system

    assert api.sign_in("ada@example.org", "correct horse battery").status_code == 200
    assert kept().startswith("$argon2id$")


@pytest.fixture
def faulty(make_app: MakeApp) -> Flask:
    """An application with a mistake in it."""
    app = make_app(service_name="Faulty")
    if "mistake" not in app.view_functions:
        app._got_first_request = False  # the one of another test

        def mistake() -> str:
            raise RuntimeError("a secret of the inside")

        app.add_url_rule("/mistake", "mistake", mistake)
    return app


def test_se9_a_crash_says_nothing_about_the_inside(faulty: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = faulty.test_client().get("/mistake?code=7505", headers={"X-Request-Id": "a-request-of-mine"})

    assert answer.status_code == 500
    assert refusal(answer) == {
        "code": "internal_error",
        "msg": "An internal error occurred; try again later and report the X-Request-Id of this answer if it persists.",
    }
    assert answer.headers["X-Request-Id"] == "a-request-of-mine"
    assert "a secret of the inside" in caplog.text
    assert "7505" not in caplog.text
