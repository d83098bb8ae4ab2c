"""The history: every event once, in the transaction of what it tells of, and to be read by nobody but its owner."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.db import unit_of_work
from auth_service.models.audit_event import EventType
from tests.support import transactions
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.statements import plan_of, statements
from tests.support.stores import Query

GRACE = "grace@example.org"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
OURS = {"X-Requested-With": "portal", "Origin": "http://127.0.0.1:5000"}


def read(api: ApiClient, token: str, **wanted: Any) -> TestResponse:
    """Ask for a page of the history."""
    return api.with_token(token, "GET", "/me/login_history", query_string=wanted)


def kinds(api: ApiClient, token: str) -> list[str]:
    """What happened, the newest first."""
    return [entry["kind"] for entry in read(api, token, limit=50).get_json()["data"]]


# What is written.


@pytest.mark.clock
def test_lg2_an_event_says_who_what_when_where_how_and_with_what_outcome(ada: int, app: Flask, query: Query) -> None:
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
        "device": "Firefox 143 on Linux",
        "address": "2001:db8::7",
        "session_id": session,
        "current": True,
    }
    assert (registered["kind"], registered["session_id"], registered["current"]) == ("registered", None, False)
    assert query("SELECT count(*) FROM events WHERE at BETWEEN now() - interval '1 minute' AND now()") == [(2,)]


def test_lg2_everything_that_happens_to_sessions_is_written_down(
    ada: int, api: ApiClient, app: Flask, query: Query
) -> None:
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

    found = query(
        "SELECT kind, outcome, session_id, details ->> 'reason', host(address) FROM events"
        " WHERE kind NOT IN ('registered', 'signed_in') ORDER BY id"
    )
    here, elsewhere = "203.0.113.7", "198.51.100.9"
    assert found == [
        ("signed_out", "success", ids[1], "signed_out", here),
        ("session_ended", "success", ids[2], "ended_by_owner", here),
        ("session_ended", "success", ids[3], "ended_by_owner", here),
        ("refresh_reused", "failure", ids[0], "refresh_reused", elsewhere),
    ]
    assert third["access_token"] != fourth["access_token"]


def test_lg2_recovery_and_its_refusal_are_written_down(
    ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    api.call("POST", "/password/send_code", json={"email": ADA})
    code = mailbox.code_sent_to(ADA)
    body = {"email": ADA, "new_password": "another good password"}
    wrong = "000000" if code != "000000" else "000001"
    assert api.call("PUT", "/password", json={**body, "code": wrong}).get_json()["error"]["code"] == "code_wrong"
    nobodys = api.call("PUT", "/password", json={**body, "email": "nobody@example.org", "code": wrong})
    assert nobodys.get_json()["error"]["code"] == "code_expired"
    assert api.call("PUT", "/password", json={**body, "code": code}).status_code == 200

    found = query("SELECT kind, outcome, user_id FROM events WHERE kind <> 'registered' ORDER BY id")
    assert found == [
        ("recovery_refused", "failure", ada),
        ("recovery_refused", "failure", None),
        ("password_recovered", "success", ada),
    ]


def test_lg2_refused_sign_ins_are_written_down_by_method(ada: int, api: ApiClient, query: Query) -> None:
    api.sign_in(ADA, "a wrong password")
    api.sign_in("nobody@example.org", PASSWORD)
    api.call("POST", "/sign_in/code", json={"email": ADA, "code": "123456"})

    found = query(
        "SELECT user_id, outcome, details ->> 'method' FROM events WHERE kind = 'sign_in_refused' ORDER BY id"
    )
    assert found == [(ada, "failure", "password"), (None, "failure", "password"), (ada, "failure", "code")]


def test_lg2_a_denied_request_of_a_signed_in_user_is_recorded(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    other = ApiClient(app)
    other.register(GRACE, mailbox, password=PASSWORD)
    foreign = other.signed_in(GRACE, PASSWORD)["access_token"]
    [(hers,)] = query("SELECT session_id::text FROM events WHERE kind = 'signed_in'")
    api.call("POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=OURS)

    assert refusal(api.call("DELETE", f"/me/sessions/{hers}", headers=OURS))["code"] == "session_unknown"
    assert refusal(api.call("POST", "/sign_out"))["code"] == "cross_site"

    [(mine,)] = query("SELECT session_id::text FROM events WHERE kind = 'signed_in' AND user_id = %s", ada)
    denied = query(
        "SELECT user_id, outcome, session_id::text, details ->> 'refusal' FROM events"
        " WHERE kind = 'access_denied' ORDER BY id"
    )
    assert denied == [(ada, "failure", mine, "session_unknown"), (ada, "failure", mine, "cross_site")]
    assert other.with_token(foreign, "GET", "/me").status_code == 200


def test_lg2_what_happens_to_the_account_is_written_down(
    token: str, ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
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
    found = query(
        "SELECT kind, outcome, user_id, details ->> 'purpose', coalesce(session_id, %s) FROM events"
        " WHERE kind NOT IN ('registered', 'signed_in') ORDER BY id",
        session,
    )
    assert found == [
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


def test_lg3_what_is_rolled_back_leaves_no_event(ada: int, api: ApiClient, app: Flask, query: Query) -> None:
    query("ALTER TABLE events ADD CONSTRAINT broken CHECK (kind <> 'signed_in') NOT VALID")
    try:
        assert api.sign_in(ADA, PASSWORD).status_code == 500
    finally:
        query("ALTER TABLE events DROP CONSTRAINT broken")

    assert query("SELECT count(*) FROM sessions") == [(0,)], "no session without its event"
    assert query("SELECT kind FROM events") == [("registered",)]


def test_an_event_of_no_known_kind_is_a_mistake(app: Flask) -> None:
    history = app.extensions["auth_service"].audit_log
    with app.app_context(), unit_of_work(), pytest.raises(ValueError, match="not a valid EventType"):
        history.record("signed_inn", user_id=1, client=None)


def test_every_kind_has_a_sentence_and_is_written_somewhere() -> None:
    services = (Path(__file__).parents[2] / "src" / "auth_service").rglob("*.py")
    written = " ".join(path.read_text("utf-8") for path in services if path.name != "audit_event.py")

    for kind in EventType:
        assert kind.sentence.endswith(".")
        assert f"EventType.{kind.name}" in written, kind


# Failures are capped, apart from everything else.


@pytest.fixture
def capped(make_app: MakeApp) -> Flask:
    """An application that writes three failures a day down."""
    return make_app(rate_limits="off", history_failures_a_day=3)


@pytest.mark.clock
def test_lg2_failures_cannot_flush_the_log(ada: int, capped: Flask, query: Query) -> None:
    api = ApiClient(capped)
    for _ in range(5):
        api.sign_in(ADA, "a wrong password")
        api.sign_in("nobody@example.org", PASSWORD)
    for _ in range(5):
        api.signed_in(ADA, PASSWORD)

    found: dict[Any, Any] = dict(
        query("SELECT coalesce(user_id::text, kind), count(*) FROM events WHERE outcome = 'failure' GROUP BY 1")
    )
    assert found == {str(ada): 3, "sign_in_refused": 3}
    assert query("SELECT count(*) FROM events WHERE kind = 'signed_in'") == [(5,)]

    # Tomorrow there is room again.
    query("UPDATE events SET at = at - interval '25 hours' WHERE outcome = 'failure'")
    api.sign_in(ADA, "a wrong password")
    assert query("SELECT count(*) FROM events WHERE outcome = 'failure' AND user_id = %s", ada) == [(4,)]


def test_en2_a_refusal_runs_the_same_statements_for_known_and_unknown_addresses(
    ada: int, api: ApiClient, query: Query
) -> None:
    app = api.client.application
    asked: list[list[str]] = []
    for path, body in (
        ("/sign_in", {"password": "a wrong password"}),
        ("/sign_in/code", {"code": "123456"}),
        ("/password", {"code": "123456", "new_password": "another good password"}),
    ):
        method = "PUT" if path == "/password" else "POST"
        for email in ("warm@example.org", ADA, "nobody@example.org"):  # statements are prepared at first
            with statements(app) as audit_cte:
                assert api.call(method, path, json={"email": email, **body}).status_code in (401, 404)
            asked.append([statement.partition(" (")[0] for statement, _ in audit_cte])

    for known, unknown in zip(asked[1::3], asked[2::3], strict=True):
        assert known == unknown
        assert all(statement.startswith("EXECUTE ") for statement in known), "others would show their values apart"
    assert query("SELECT count(*) FROM events WHERE outcome = 'failure'") == [(9,)]


@pytest.mark.clock
def test_en2_failures_in_a_long_audit_log_are_counted_by_an_index_for_every_address(
    ada: int, api: ApiClient, query: Query
) -> None:
    app = api.client.application
    # Five weeks before and after this instant. PostgreSQL reads an empty partition from end to end, and the day that is
    # counted touches the next month at the end of one, and the last month at the beginning.
    query(
        "INSERT INTO events (at, user_id, kind, outcome, device, details)"
        " SELECT now() + number * interval '200 seconds',"
        "  CASE number %% 3 WHEN 0 THEN NULL WHEN 1 THEN %s ELSE number END,"
        "  'sign_in_refused', CASE number %% 2 WHEN 0 THEN 'success' ELSE 'failure' END, '', '{}'"
        " FROM generate_series(-15120, 15120) AS number",
        ada,
    )
    query("ANALYZE events")

    plans = []
    for email in (ADA, "nobody@example.org"):
        with statements(app) as audit_cte:
            api.sign_in(email, "a wrong password")
        [statement] = [said for said, _ in audit_cte if said.startswith("EXECUTE ") and "'sign_in_refused'" in said]
        plans.append(plan_of(app, statement, None))

    known, unknown = plans
    assert known == unknown
    # How the one user is looked up depends on whether autovacuum has seen the table.
    months = [(kind, name) for kind, name in known if name.startswith("events_")]
    assert 1 <= len(months) <= 2, "only the months that a day lies in are looked at"
    assert all(kind.startswith("Index") and "coalesce_at" in name for kind, name in months), months
    query("DELETE FROM events")


def test_en2_beyond_the_cap_committing_costs_what_it_costs_below(ada: int, capped: Flask, query: Query) -> None:
    api = ApiClient(capped)
    for email in (ADA, "nobody@example.org"):
        written = []
        for _ in range(6):
            with transactions.committed(capped) as committed:
                api.sign_in(email, "a wrong password")
            written.append(len(committed.ids))
        assert written == [1] * 6
        assert query("SELECT count(*) FROM events WHERE outcome = 'failure'") != [(0,)]


# What is read.


@pytest.mark.clock
def test_in8_pages_are_capped_and_in_a_stable_order(token: str, api: ApiClient, ada: int, query: Query) -> None:
    query(
        "INSERT INTO events (at, user_id, kind, outcome, device, details)"
        " SELECT now() - (number || ' days')::interval, %s, 'signed_in', 'success', number::text, '{}'"
        " FROM generate_series(1, 118) AS number",
        ada,
    )
    everything = [row[0] for row in query("SELECT device FROM events WHERE user_id = %s ORDER BY id DESC", ada)]

    usual = read(api, token).get_json()
    assert len(usual["data"]) == 20
    found: list[str] = []
    cursor: str | None = None
    sizes = []
    while True:
        page = read(api, token, limit=50, **({"cursor": cursor} if cursor else {})).get_json()
        sizes.append(len(page["data"]))
        found += [entry["device"] for entry in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert sizes == [50, 50, 20]
    assert found == everything
    assert read(api, token, limit=1).get_json()["data"] == usual["data"][:1]


def test_in8_a_page_that_is_just_full_is_the_last(token: str, api: ApiClient) -> None:
    page = read(api, token, limit=2).get_json()

    assert [entry["kind"] for entry in page["data"]] == ["signed_in", "registered"]
    assert page["next_cursor"] is None


@pytest.mark.parametrize(
    "limit",
    ["0", "51", "-1", "+1", "1.0", "1e1", " 1", "1 ", "", "٣", "５", "true", "9" * 30, "9" * 3000, "0x1", "05", "00",
     "1_0", "-0", "1\n"],
)  # fmt: skip
def test_in8_what_is_no_size_of_a_page(token: str, api: ApiClient, limit: str) -> None:
    answer = read(api, token, limit=limit)

    assert (answer.status_code, refusal(answer)["code"]) == (422, "validation_failed")
    assert refusal(answer)["fields"][0]["field"] == "limit"


@pytest.mark.parametrize("cursor", ["", "x", "1", "=" * 50, "é", "A" * 256, "A" * 257, "%00", "AAAA" * 20])
def test_in8_what_is_no_cursor(token: str, api: ApiClient, cursor: str) -> None:
    answer = read(api, token, cursor=cursor)

    assert (answer.status_code, refusal(answer)["code"]) == (422, "validation_failed")
    assert refusal(answer)["fields"][0]["field"] == "cursor"


def test_az2_the_cursor_of_another_user_is_rejected(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox, ada: int
) -> None:
    other = ApiClient(app)
    other.register(GRACE, mailbox, password=PASSWORD)
    hers = other.signed_in(GRACE, PASSWORD)["access_token"]
    cursor = read(other, hers, limit=1).get_json()["next_cursor"]
    assert cursor is not None

    assert read(api, token, cursor=cursor).status_code == 422
    flipped = ("A" if cursor[9] != "A" else "B").join((cursor[:9], cursor[10:]))
    assert read(other, hers, cursor=flipped).status_code == 422
    assert [entry["kind"] for entry in read(other, hers, cursor=cursor).get_json()["data"]] == ["registered"]


def test_a_cursor_does_not_tell_how_much_happens_to_others(token: str, api: ApiClient, query: Query) -> None:
    cursor = read(api, token, limit=1).get_json()["next_cursor"]
    [(position,)] = query("SELECT max(id) FROM events")

    sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert str(position).encode() not in sealed
    assert json.dumps({"before": position}).encode() not in sealed


def test_az2_everybody_reads_their_own_history_only(token: str, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    other = ApiClient(app)
    other.register(GRACE, mailbox, password=PASSWORD)
    hers = other.signed_in(GRACE, PASSWORD)["access_token"]
    api.sign_in(ADA, "a wrong password")
    api.sign_in("nobody@example.org", "a wrong password")

    assert kinds(api, token) == ["sign_in_refused", "signed_in", "registered"]
    assert kinds(other, hers) == ["signed_in", "registered"]
    assert api.call("GET", "/me/login_history").status_code == 401
    assert api.with_token(token, "GET", "/me/login_history?user_id=1").status_code == 422


# Letters about devices.


def letters(mailbox: Mailbox, email: str = ADA) -> int:
    """How many emails about a new device a user has received."""
    return sum("undo#" in letter.text for letter in mailbox.letters_to(email))


def sign_in(api: ApiClient, agent: str = FIREFOX) -> None:
    """Sign in with a browser of some kind."""
    body = {"email": ADA, "password": PASSWORD}
    assert api.call("POST", "/sign_in", json=body, headers={"User-Agent": agent}).status_code == 200


@pytest.mark.clock
def test_lg4_the_first_session_of_a_user_is_no_new_device(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    sign_in(api)
    assert letters(mailbox) == 0

    sign_in(api)  # the device is known by now
    assert letters(mailbox) == 0
    sign_in(ApiClient(app, address="198.51.100.9"))
    assert letters(mailbox) == 1


@pytest.mark.clock
def test_lg4_who_registered_days_ago_is_told_of_the_first_session(
    ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    query("UPDATE users SET verified_at = now() - interval '25 hours'")
    sign_in(api)

    assert letters(mailbox) == 1


@pytest.mark.clock
def test_lg4_a_session_that_has_ended_counts_as_one(ada: int, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    tokens = api.signed_in(ADA, PASSWORD)
    api.with_token(tokens["access_token"], "POST", "/sign_out")
    sign_in(ApiClient(app))

    assert letters(mailbox) == 1


@pytest.mark.clock
def test_lg4_programs_without_cookies_do_not_flood_a_mailbox(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    sign_in(api)
    for last in range(1, 6):
        sign_in(ApiClient(app, address=f"2001:db8::{last}"))
    assert letters(mailbox) == 1, "one device in one network"

    sign_in(ApiClient(app, address="2001:db8:0:1::1"))
    assert letters(mailbox) == 2, "another network"
    sign_in(ApiClient(app, address="2001:db8::1"), CHROME)
    assert letters(mailbox) == 3, "another device"
    query(
        "UPDATE letters SET dedup_key = replace(dedup_key, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'earlier')"
    )
    sign_in(ApiClient(app, address="2001:db8::1"))
    assert letters(mailbox) == 4, "another day"


@pytest.mark.clock
def test_lg4_after_the_account_was_taken_back_the_same_device_is_news_again(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    sign_in(api)
    sign_in(ApiClient(app, address="198.51.100.9"))
    assert letters(mailbox) == 1
    api.call("POST", "/password/send_code", json={"email": ADA})
    code = mailbox.code_sent_to(ADA)
    api.call("PUT", "/password", json={"email": ADA, "code": code, "new_password": PASSWORD})

    sign_in(ApiClient(app, address="198.51.100.9"))

    assert letters(mailbox) == 2
