"""Data export: everything that is stored about the user, nothing about other users, and no secret."""

import json

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.stores import Query

GRACE = "grace@example.org"


@pytest.mark.clock
def test_a_user_exports_all_data(ada: int, api: ApiClient, mailbox: Mailbox) -> None:
    tokens = api.signed_in(ADA, PASSWORD)
    api.sign_in(ADA, "a wrong password")
    api.ask_to_move(tokens["access_token"], "new@example.org", password=PASSWORD)
    code = mailbox.code_sent_to("new@example.org")

    response = api.with_token(tokens["access_token"], "GET", "/me/export")

    data = response.get_json()["data"]
    assert data.keys() == {
        "exported_at", "profile", "second_factor", "roles", "sessions", "history", "letters", "passkeys",
        "email_changes", "complete",
    }  # fmt: skip
    profile = data["profile"]
    assert (profile["id"], profile["email"], profile["verified_mail"]) == (ada, ADA, True)
    assert (profile["has_password"], profile["language"]) == (True, "en")
    assert data["roles"] == ["ROLE_PORTAL_USER"]
    [session] = data["sessions"]
    assert (session["method"], session["address"], session["ended_at"]) == ("password", "203.0.113.7", None)
    kinds = [event["kind"] for event in data["history"]]
    assert kinds == ["email_change_asked", "sign_in_refused", "signed_in", "registered"]
    assert {message["kind"] for message in data["letters"]} == {"registration_code", "email_code"}
    assert data["letters"][0].keys() == {"kind", "recipient", "language", "state", "created_at", "ended_at"}
    assert [change["email"] for change in data["email_changes"]] == ["new@example.org"]
    assert data["complete"] is True
    for secret in ("argon2", "payload", "digest", "counter", code, PASSWORD, *tokens.values()):
        assert str(secret) not in response.text.replace('"900"', "") or secret in (900, "Bearer"), secret


def test_az2_an_export_contains_no_data_of_other_users(ada: int, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    grace = ApiClient(app, address="198.51.100.9")
    grace.register(GRACE, mailbox, password=PASSWORD)
    grace_token = grace.signed_in(GRACE, PASSWORD)["access_token"]
    grace.ask_to_move(grace_token, "hopper@example.org", password=PASSWORD)
    token = api.signed_in(ADA, PASSWORD)["access_token"]

    exported = api.with_token(token, "GET", "/me/export").text

    assert ADA in exported
    for other in (GRACE, "hopper", "198.51.100.9"):
        assert other not in exported
    assert refusal(api.call("GET", "/me/export"))["code"] == "token_missing"
    assert api.with_token(token, "GET", "/me/export", query_string={"user_id": 1}).status_code == 422


def test_az4_a_long_export_is_bounded_and_marked_as_incomplete(ada: int, api: ApiClient, query: Query) -> None:
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    query(
        "INSERT INTO events (user_id, kind, outcome, device, details)"
        f" SELECT {ada}, 'signed_in', 'success', '', '{{}}' FROM generate_series(1, 1200)"
    )

    data = api.with_token(token, "GET", "/me/export").get_json()["data"]

    assert len(data["history"]) == 1000
    assert data["complete"] is False
    assert len(json.dumps(data)) < 1_000_000


def test_exports_have_a_rate_limit_per_client(ada: int, api: ApiClient, make_app: MakeApp) -> None:
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    limited = ApiClient(make_app(limit_exports="2/1m"))

    statuses = [limited.with_token(token, "GET", "/me/export").status_code for _ in range(3)]

    assert statuses == [200, 200, 429]
