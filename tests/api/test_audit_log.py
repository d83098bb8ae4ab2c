"""Audit log: every security event is recorded once, in the transaction of the change."""

from pathlib import Path

import pytest
from flask import Flask

from auth_service.db import unit_of_work
from auth_service.models.audit_event import EventType
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.login_history import read
from tests.support.stores import Query

GRACE = "grace@example.org"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
SAME_ORIGIN = {"X-Requested-With": "portal", "Origin": "http://127.0.0.1:5000"}


@pytest.mark.clock
def test_lg2_an_event_has_type_time_method_device_address_session_and_outcome(
    ada: int, app: Flask, query: Query
) -> None:
    api = ApiClient(app, address="2001:db8::7")
    tokens = api.call(
        "POST", "/sign_in", json={"email": ADA, "password": PASSWORD}, headers={"User-Agent": FIREFOX}
    ).get_json()["data"]

    [signed_in, registered] = read(api, tokens["access_token"]).get_json()["data"]

    [(session,)] = query("SELECT id::text FROM sessions")
    at = signed_in.pop("at")
    assert at.endswith("Z")
    assert signed_in == {
        "kind": "signed_in",
        "outcome": "success",
        "method": "password",
        "by": None,
        "device": "Firefox 143 on Linux",
        "address": "2001:db8::7",
        "session_id": session,
        "current": True,
    }
    assert (registered["kind"], registered["session_id"], registered["current"]) == ("registered", None, False)
    assert query("SELECT count(*) FROM events WHERE at BETWEEN now() - interval '1 minute' AND now()") == [(2,)]


def test_lg2_every_session_event_is_recorded(ada: int, api: ApiClient, app: Flask, query: Query) -> None:
    first, second, third, fourth = (api.signed_in(ADA, PASSWORD) for _ in range(4))
    token = first["access_token"]
    ids = [row[0] for row in query("SELECT session_id FROM events WHERE kind = 'signed_in' ORDER BY id")]

    api.with_token(second["access_token"], "POST", "/sign_out")
    api.with_token(token, "DELETE", f"/me/sessions/{ids[2]}")
    api.with_token(token, "DELETE", "/me/sessions")
    for _ in range(2):
        api.refresh(first["refresh_token"])
    query("UPDATE sessions SET refreshed_at = now() - interval '31 seconds' WHERE ended_at IS NULL")
    ApiClient(app, address="198.51.100.9").refresh(first["refresh_token"])

    events = query(
        "SELECT kind, outcome, session_id, details ->> 'reason', host(address) FROM events"
        " WHERE kind NOT IN ('registered', 'signed_in') ORDER BY id"
    )
    here, elsewhere = "203.0.113.7", "198.51.100.9"
    assert events == [
        ("signed_out", "success", ids[1], "signed_out", here),
        ("session_ended", "success", ids[2], "ended_by_owner", here),
        ("session_ended", "success", ids[3], "ended_by_owner", here),
        ("refresh_reused", "failure", ids[0], "refresh_reused", elsewhere),
    ]
    assert third["access_token"] != fourth["access_token"]


def test_lg2_password_resets_and_failed_attempts_are_recorded(
    ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    api.call("POST", "/password/send_code", json={"email": ADA})
    code = mailbox.code_sent_to(ADA)
    body = {"email": ADA, "new_password": "another good password"}
    wrong = "000000" if code != "000000" else "000001"
    assert api.call("PUT", "/password", json={**body, "code": wrong}).get_json()["error"]["code"] == "code_wrong"
    unknown = api.call("PUT", "/password", json={**body, "email": "unknown@example.org", "code": wrong})
    assert unknown.get_json()["error"]["code"] == "code_expired"
    assert api.call("PUT", "/password", json={**body, "code": code}).status_code == 200

    events = query("SELECT kind, outcome, user_id FROM events WHERE kind <> 'registered' ORDER BY id")
    assert events == [
        ("recovery_refused", "failure", ada),
        ("recovery_refused", "failure", None),
        ("password_recovered", "success", ada),
    ]


def test_lg2_failed_sign_ins_are_recorded_with_their_method(ada: int, api: ApiClient, query: Query) -> None:
    api.sign_in(ADA, "a wrong password")
    api.sign_in("unknown@example.org", PASSWORD)
    api.call("POST", "/sign_in/code", json={"email": ADA, "code": "123456"})

    events = query(
        "SELECT user_id, outcome, details ->> 'method' FROM events WHERE kind = 'sign_in_refused' ORDER BY id"
    )
    assert events == [(ada, "failure", "password"), (None, "failure", "password"), (ada, "failure", "code")]


def test_lg2_a_denied_request_of_a_signed_in_user_is_recorded(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    other = ApiClient(app)
    other.register(GRACE, mailbox, password=PASSWORD)
    foreign_token = other.signed_in(GRACE, PASSWORD)["access_token"]
    [(foreign_session,)] = query("SELECT session_id::text FROM events WHERE kind = 'signed_in'")
    api.call("POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=SAME_ORIGIN)

    assert (
        refusal(api.call("DELETE", f"/me/sessions/{foreign_session}", headers=SAME_ORIGIN))["code"] == "session_unknown"
    )
    assert refusal(api.call("POST", "/sign_out"))["code"] == "cross_site"

    [(own_session,)] = query("SELECT session_id::text FROM events WHERE kind = 'signed_in' AND user_id = %s", ada)
    denied = query(
        "SELECT user_id, outcome, session_id::text, details ->> 'refusal' FROM events"
        " WHERE kind = 'access_denied' ORDER BY id"
    )
    assert denied == [(ada, "failure", own_session, "session_unknown"), (ada, "failure", own_session, "cross_site")]
    assert other.with_token(foreign_token, "GET", "/me").status_code == 200


def test_lg2_account_changes_are_recorded(token: str, ada: int, api: ApiClient, mailbox: Mailbox, query: Query) -> None:
    new, later = "lovelace@example.com", "a better password"
    change = {"current_password": PASSWORD, "new_password": later}
    api.with_token(token, "PUT", "/me/password", json={**change, "current_password": "a wrong password"})
    assert api.with_token(token, "PUT", "/me/password", json=change).status_code == 200
    assert api.ask_to_move(token, new, password=later).status_code == 200
    code = mailbox.code_sent_to(new)
    wrong = "000000" if code != "000000" else "000001"
    assert refusal(api.move(token, wrong))["code"] == "code_wrong"
    assert api.move(token, code).status_code == 200
    assert api.with_token(token, "GET", "/me/export").status_code == 200
    assert refusal(api.leave(token, code="123456"))["code"] == "code_expired"

    [(session,)] = query("SELECT id FROM sessions WHERE ended_at IS NULL")
    events = query(
        "SELECT kind, outcome, user_id, details ->> 'purpose', coalesce(session_id, %s) FROM events"
        " WHERE kind NOT IN ('registered', 'signed_in') ORDER BY id",
        session,
    )
    assert events == [
        ("password_refused", "failure", ada, "password_change", session),
        ("password_changed", "success", ada, None, session),
        ("email_change_asked", "success", ada, None, session),
        ("code_refused", "failure", ada, "email_change", session),
        ("email_changed", "success", ada, None, session),
        ("data_exported", "success", ada, None, session),
        ("code_refused", "failure", ada, "deletion", session),
    ]
    assert api.leave(token, password=later).status_code == 200
    assert query("SELECT count(*) FROM events WHERE user_id IS NOT NULL OR address IS NOT NULL") == [(0,)]
    assert query("SELECT kind FROM events ORDER BY id DESC LIMIT 1") == [("account_deleted",)]


def test_lg3_a_rolled_back_transaction_leaves_no_event(ada: int, api: ApiClient, app: Flask, query: Query) -> None:
    query("ALTER TABLE events ADD CONSTRAINT broken CHECK (kind <> 'signed_in') NOT VALID")
    try:
        assert api.sign_in(ADA, PASSWORD).status_code == 500
    finally:
        query("ALTER TABLE events DROP CONSTRAINT broken")

    assert query("SELECT count(*) FROM sessions") == [(0,)], "no session without its event"
    assert query("SELECT kind FROM events") == [("registered",)]


def test_an_unknown_event_type_raises_an_error(app: Flask) -> None:
    audit_log = app.extensions["auth_service"].audit_log
    with app.app_context(), unit_of_work(), pytest.raises(ValueError, match="not a valid EventType"):
        audit_log.record("signed_inn", user_id=1, client=None)


def test_every_event_type_has_a_sentence_and_is_recorded_somewhere() -> None:
    services = (Path(__file__).parents[2] / "src" / "auth_service").rglob("*.py")
    source = " ".join(path.read_text("utf-8") for path in services if path.name != "audit_event.py")

    for event_type in EventType:
        assert event_type.description.endswith(".")
        assert f"EventType.{event_type.name}" in source, event_type
