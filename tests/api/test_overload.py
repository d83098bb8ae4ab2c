"""Overload, timeouts and internal errors: the client gets a clear error in time, without internal details."""

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
from tests.support.crowds import OvertakenAfterVerification, occupied
from tests.support.rewiring import rewired

pytestmark = [pytest.mark.slow, pytest.mark.undisturbed]

LONG = 15.0
"""Seconds: far more than the time limit of a request on any machine, and far less than a wait without a limit."""


def test_a_request_without_a_free_database_connection_gets_503_and_retry_after(make_app: MakeApp) -> None:
    app = make_app(database_connections=1)
    api = ApiClient(app)
    with app.app_context():
        held_connection = db.engine.connect()
    try:
        began = time.monotonic()
        answer = api.look_up("ada@example.org")
        waited = time.monotonic() - began
    finally:
        held_connection.close()

    assert answer.status_code == 503
    assert refusal(answer)["code"] == "service_busy"
    assert answer.headers["Retry-After"] == "1"
    assert waited < LONG
    assert api.look_up("ada@example.org").status_code == 404


def test_tk13_a_token_that_cannot_be_checked_for_lack_of_connections_gets_503(
    make_app: MakeApp, mailbox: Mailbox
) -> None:
    app = make_app(database_connections=1)
    ada = ApiClient(app)
    ada.register("ada@example.org", mailbox, password="correct horse battery")
    token = ada.signed_in("ada@example.org", "correct horse battery")["access_token"]
    with app.app_context():
        held_connection = db.engine.connect()
    try:
        answers = [ada.with_token(token, "GET", "/me"), ada.with_token(token, "POST", "/sign_out")]
    finally:
        held_connection.close()

    assert {(answer.status_code, refusal(answer)["code"]) for answer in answers} == {(503, "service_busy")}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
    assert ada.with_token(token, "GET", "/me").status_code == 200


def test_a_statement_over_its_time_limit_is_cancelled_with_503(make_app: MakeApp, api: ApiClient) -> None:
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
    assert api.finish(ada).status_code == 200, "the repeated request succeeds"


def test_pw6_a_full_hashing_queue_rejects_with_service_busy() -> None:
    with occupied(hasher := PasswordHasher(concurrent=1, waiting=0)), pytest.raises(ServiceBusy) as busy:
        hasher.hash("correct horse battery")
    assert busy.value.retry_after == 2
    assert hasher.verify("correct horse battery", hasher.hash("correct horse battery")).matches


def test_pw5_a_legacy_hash_that_cannot_be_rehashed_now_is_rehashed_at_the_next_sign_in(
    app: Flask, api: ApiClient, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.register("ada@example.org", mailbox, password="correct horse battery")
    legacy_hash = "pbkdf2:sha256:1000$salt$" + pbkdf2_hmac("sha256", b"correct horse battery", b"salt", 1000).hex()
    services: Services = app.extensions["auth_service"]
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE users SET password_hash = :password_hash"), {"password_hash": legacy_hash})

    def stored_hash() -> str:
        with app.app_context(), db.engine.connect() as connection:
            return str(connection.execute(text("SELECT password_hash FROM users")).scalar_one())

    hasher = OvertakenAfterVerification()
    with monkeypatch.context() as meanwhile:
        overtaken = rewired(services, services.sign_in.passwords.hasher, by=hasher)
        meanwhile.setitem(app.extensions, "auth_service", overtaken)
        assert api.sign_in("ada@example.org", "correct horse battery").status_code == 200
    hasher.free()
    assert hasher.times == 1
    assert stored_hash() == legacy_hash

    assert api.sign_in("ada@example.org", "correct horse battery").status_code == 200
    assert stored_hash().startswith("$argon2id$")


@pytest.fixture
def faulty(make_app: MakeApp) -> Flask:
    """An application with an endpoint that raises an unexpected exception."""
    app = make_app(service_name="Faulty")
    if "mistake" not in app.view_functions:
        app._got_first_request = False  # set by a request of another test

        def mistake() -> str:
            raise RuntimeError("an internal secret")

        app.add_url_rule("/mistake", "mistake", mistake)
    return app


def test_se9_an_internal_error_reveals_no_internal_details(faulty: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = faulty.test_client().get("/mistake?code=7505", headers={"X-Request-Id": "a-request-of-mine"})

    assert answer.status_code == 500
    assert refusal(answer) == {
        "code": "internal_error",
        "msg": "An internal error occurred; try again later and report the X-Request-Id of this answer if it persists.",
    }
    assert answer.headers["X-Request-Id"] == "a-request-of-mine"
    assert "an internal secret" in caplog.text
    assert "7505" not in caplog.text
