"""Audit log: every event once, in the transaction of the change, readable in the login history of its user only."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.db import unit_of_work
from auth_service.models.audit_event import EventType
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.stores import Query

GRACE = "grace@example.org"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
SAME_ORIGIN = {"X-Requested-With": "portal", "Origin": "http://127.0.0.1:5000"}


def read(api: ApiClient, token: str, **parameters: Any) -> TestResponse:
    """Request a page of the login history."""
    return api.with_token(token, "GET", "/me/login_history", query_string=parameters)


def kinds(api: ApiClient, token: str) -> list[str]:
    """The event types, newest first."""
    return [entry["kind"] for entry in read(api, token, limit=50).get_json()["data"]]


# Recording.


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


# Login history.


@pytest.mark.clock
def test_in8_pages_are_capped_and_in_a_stable_order(token: str, api: ApiClient, ada: int, query: Query) -> None:
    query(
        "INSERT INTO events (at, user_id, kind, outcome, device, details)"
        " SELECT now() - (number || ' days')::interval, %s, 'signed_in', 'success', number::text, '{}'"
        " FROM generate_series(1, 118) AS number",
        ada,
    )
    all_devices = [row[0] for row in query("SELECT device FROM events WHERE user_id = %s ORDER BY id DESC", ada)]

    first_page = read(api, token).get_json()
    assert len(first_page["data"]) == 20
    devices: list[str] = []
    cursor: str | None = None
    sizes = []
    while True:
        page = read(api, token, limit=50, **({"cursor": cursor} if cursor else {})).get_json()
        sizes.append(len(page["data"]))
        devices += [entry["device"] for entry in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert sizes == [50, 50, 20]
    assert devices == all_devices
    assert read(api, token, limit=1).get_json()["data"] == first_page["data"][:1]


def test_in8_an_exactly_full_last_page_has_no_next_cursor(token: str, api: ApiClient) -> None:
    page = read(api, token, limit=2).get_json()

    assert [entry["kind"] for entry in page["data"]] == ["signed_in", "registered"]
    assert page["next_cursor"] is None


@pytest.mark.parametrize(
    "limit",
    ["0", "51", "-1", "+1", "1.0", "1e1", " 1", "1 ", "", "٣", "５", "true", "9" * 30, "9" * 3000, "0x1", "05", "00",
     "1_0", "-0", "1\n"],
)  # fmt: skip
def test_in8_an_invalid_limit_is_rejected(token: str, api: ApiClient, limit: str) -> None:
    response = read(api, token, limit=limit)

    assert (response.status_code, refusal(response)["code"]) == (422, "validation_failed")
    assert refusal(response)["fields"][0]["field"] == "limit"


@pytest.mark.parametrize("cursor", ["", "x", "1", "=" * 50, "é", "A" * 256, "A" * 257, "%00", "AAAA" * 20])
def test_in8_an_invalid_cursor_is_rejected(token: str, api: ApiClient, cursor: str) -> None:
    response = read(api, token, cursor=cursor)

    assert (response.status_code, refusal(response)["code"]) == (422, "validation_failed")
    assert refusal(response)["fields"][0]["field"] == "cursor"


def test_az2_the_cursor_of_another_user_is_rejected(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox, ada: int
) -> None:
    other = ApiClient(app)
    other.register(GRACE, mailbox, password=PASSWORD)
    other_token = other.signed_in(GRACE, PASSWORD)["access_token"]
    cursor = read(other, other_token, limit=1).get_json()["next_cursor"]
    assert cursor is not None

    assert read(api, token, cursor=cursor).status_code == 422
    tampered = ("A" if cursor[9] != "A" else "B").join((cursor[:9], cursor[10:]))
    assert read(other, other_token, cursor=tampered).status_code == 422
    assert [entry["kind"] for entry in read(other, other_token, cursor=cursor).get_json()["data"]] == ["registered"]


def test_a_cursor_does_not_reveal_the_number_of_events_of_other_users(token: str, api: ApiClient, query: Query) -> None:
    cursor = read(api, token, limit=1).get_json()["next_cursor"]
    [(position,)] = query("SELECT max(id) FROM events")

    sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert str(position).encode() not in sealed
    assert json.dumps({"before": position}).encode() not in sealed


def test_az2_a_user_reads_only_their_own_login_history(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    other = ApiClient(app)
    other.register(GRACE, mailbox, password=PASSWORD)
    other_token = other.signed_in(GRACE, PASSWORD)["access_token"]
    api.sign_in(ADA, "a wrong password")
    api.sign_in("unknown@example.org", "a wrong password")

    assert kinds(api, token) == ["sign_in_refused", "signed_in", "registered"]
    assert kinds(other, other_token) == ["signed_in", "registered"]
    assert api.call("GET", "/me/login_history").status_code == 401
    assert api.with_token(token, "GET", "/me/login_history?user_id=1").status_code == 422


# New-device notifications.


def new_device_emails(mailbox: Mailbox, email: str = ADA) -> int:
    """How many emails about a new device a user has received."""
    return sum("undo#" in message.text for message in mailbox.letters_to(email))


def sign_in(api: ApiClient, agent: str = FIREFOX) -> None:
    """Sign in with this user agent."""
    body = {"email": ADA, "password": PASSWORD}
    assert api.call("POST", "/sign_in", json=body, headers={"User-Agent": agent}).status_code == 200


@pytest.mark.clock
def test_lg4_the_first_session_after_a_registration_sends_no_notification(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    sign_in(api)
    assert new_device_emails(mailbox) == 0

    sign_in(api)  # the device is known by now
    assert new_device_emails(mailbox) == 0
    sign_in(ApiClient(app, address="198.51.100.9"))
    assert new_device_emails(mailbox) == 1


@pytest.mark.clock
def test_lg4_a_first_session_a_day_after_the_registration_sends_a_notification(
    ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    query("UPDATE users SET verified_at = now() - interval '25 hours'")
    sign_in(api)

    assert new_device_emails(mailbox) == 1


@pytest.mark.clock
def test_lg4_a_new_device_after_a_sign_out_sends_a_notification(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    tokens = api.signed_in(ADA, PASSWORD)
    api.with_token(tokens["access_token"], "POST", "/sign_out")
    sign_in(ApiClient(app))

    assert new_device_emails(mailbox) == 1


@pytest.mark.clock
def test_lg4_clients_without_cookies_send_one_notification_per_device_network_and_day(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    sign_in(api)
    for last in range(1, 6):
        sign_in(ApiClient(app, address=f"2001:db8::{last}"))
    assert new_device_emails(mailbox) == 1, "one device in one network"

    sign_in(ApiClient(app, address="2001:db8:0:1::1"))
    assert new_device_emails(mailbox) == 2, "another network"
    sign_in(ApiClient(app, address="2001:db8::1"), CHROME)
    assert new_device_emails(mailbox) == 3, "another device"
    query(
        "UPDATE letters SET dedup_key = replace(dedup_key, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'earlier')"
    )
    sign_in(ApiClient(app, address="2001:db8::1"))
    assert new_device_emails(mailbox) == 4, "another day"


@pytest.mark.clock
def test_lg4_after_a_password_reset_a_known_device_sends_a_notification_again(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    sign_in(api)
    sign_in(ApiClient(app, address="198.51.100.9"))
    assert new_device_emails(mailbox) == 1
    api.call("POST", "/password/send_code", json={"email": ADA})
    code = mailbox.code_sent_to(ADA)
    api.call("PUT", "/password", json={"email": ADA, "code": code, "new_password": PASSWORD})

    sign_in(ApiClient(app, address="198.51.100.9"))

    assert new_device_emails(mailbox) == 2
