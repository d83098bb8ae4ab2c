"""Account deletion: requires reauthentication, removes all data, and invalidates sessions, codes and links."""

from typing import Any

from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.stores import Query

NEW = "lovelace@example.com"


def test_a_user_deletes_the_account_with_the_password(token: str, api: ApiClient) -> None:
    response = api.leave(token, password=PASSWORD)

    assert response.get_json() == {"success": True, "result": "Ok"}
    assert api.look_up(ADA).status_code == 404
    assert api.sign_in(ADA, PASSWORD).status_code == 401


def test_a_user_deletes_the_account_with_an_emailed_code(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    requested = api.ask_to_leave(token)
    assert requested.get_json() == {"success": True, "result": "Ok", "data": {"expires_in": 600, "resend_after": 0}}
    assert "delete your account" in mailbox.letters_to(ADA)[0].subject

    assert api.leave(token, code=mailbox.code_sent_to(ADA)).status_code == 200

    assert api.look_up(ADA).status_code == 404


def test_se3_a_deletion_requires_reauthentication(token: str, ada: int, api: ApiClient, query: Query) -> None:
    for credentials, status, code in (
        ({}, 403, "reauthentication_required"),
        ({"password": None, "code": None}, 403, "reauthentication_required"),
        ({"password": "a wrong password"}, 403, "password_wrong"),
        ({"code": "123456"}, 404, "code_expired"),
        ({"password": PASSWORD, "code": "123456"}, 422, "validation_failed"),
        ({"password": PASSWORD, "user_id": ada}, 422, "validation_failed"),
        ({"password": ""}, 422, "validation_failed"),
    ):
        response = api.leave(token, **credentials)
        assert (response.status_code, refusal(response)["code"]) == (status, code), credentials

    assert refusal(api.with_token(token, "DELETE", "/me"))["code"] == "reauthentication_required"
    assert refusal(api.call("DELETE", "/me", json={"password": PASSWORD}))["code"] == "token_missing"
    assert query("SELECT count(*) FROM events WHERE kind = 'password_refused'") == [(1,)]
    assert api.is_signed_in(token)


def test_pw11_a_user_without_a_password_deletes_the_account_with_an_emailed_code(
    api: ApiClient, mailbox: Mailbox
) -> None:
    api.register(ADA, mailbox)
    api.ask_to_sign_in(ADA)
    token = api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).get_json()["data"]["access_token"]

    assert refusal(api.leave(token, password=PASSWORD))["code"] == "password_not_set"
    api.ask_to_leave(token)
    assert api.leave(token, code=mailbox.code_sent_to(ADA)).status_code == 200


def test_cd3_five_failed_attempts_invalidate_the_code(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    api.ask_to_leave(token)
    code = mailbox.code_sent_to(ADA)

    error_codes = [refusal(api.leave(token, code="12345"))["code"] for _ in range(5)]

    assert error_codes == ["code_wrong"] * 5
    assert refusal(api.leave(token, code=code))["code"] == "code_expired"
    api.ask_to_leave(token)
    assert api.leave(token, code=mailbox.code_sent_to(ADA)).status_code == 200


def test_cd4_a_code_is_bound_to_its_session_and_purpose(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    phone = ApiClient(app)
    other = phone.signed_in(ADA, PASSWORD)["access_token"]
    api.ask_to_leave(token)
    code = mailbox.code_sent_to(ADA)

    assert refusal(phone.leave(other, code=code))["code"] == "code_expired"
    assert refusal(api.recover(ADA, code, "analytical engines"))["code"] == "code_expired"
    assert refusal(api.sign_in_by_code(ADA, code))["code"] == "credentials_rejected"
    api.ask_to_sign_in(ADA)
    assert refusal(api.leave(token, code=mailbox.code_sent_to(ADA)))["code"] == "code_wrong"
    assert api.leave(token, code=code).status_code == 200


def test_az8_sessions_codes_and_links_of_a_deleted_account_are_rejected(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    phone = ApiClient(app)
    other = phone.signed_in(ADA, PASSWORD)
    revert_token = mailbox.undo_sent_to(ADA, about="device")
    phone.ask_to_move(other["access_token"], NEW, password=PASSWORD)
    api.ask_to_recover(ADA)
    reset_code = mailbox.code_sent_to(ADA)

    assert api.leave(token, password=PASSWORD).status_code == 200

    assert not api.is_signed_in(token)
    assert not phone.is_signed_in(other["access_token"])
    assert refusal(phone.refresh(other["refresh_token"]))["code"] == "refresh_rejected"
    assert refusal(phone.move(other["access_token"], mailbox.code_sent_to(ADA)))["code"] == "token_invalid"
    assert refusal(api.undo(revert_token))["code"] == "undo_unknown"
    assert refusal(api.recover(ADA, reset_code, "analytical engines"))["code"] == "code_expired"
    for table in ("users", "user_roles", "sessions", "undos", "email_changes"):
        assert query(f"SELECT count(*) FROM {table}") == [(0,)], table


def test_az8_a_new_registration_of_the_address_inherits_nothing(
    token: str, ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    refresh = ApiClient(app).signed_in(ADA, PASSWORD)["refresh_token"]
    api.ask_to_sign_in(ADA)
    old_code = mailbox.code_sent_to(ADA)
    revert_token = mailbox.undo_sent_to(ADA, about="device")
    api.leave(token, password=PASSWORD)

    new_client = ApiClient(app, address="198.51.100.9")
    assert new_client.register(ADA, mailbox) != ada

    assert not api.is_signed_in(token)
    assert api.refresh(refresh).status_code == 401
    assert api.sign_in(ADA, PASSWORD).status_code == 401
    assert api.sign_in_by_code(ADA, old_code).status_code == 401
    assert api.undo(revert_token).status_code == 404
    new_client.ask_to_sign_in(ADA)
    new_token = new_client.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).get_json()["data"]["access_token"]
    assert len(new_client.with_token(new_token, "GET", "/me/sessions").get_json()["data"]) == 1
    data = new_client.with_token(new_token, "GET", "/me/export").get_json()["data"]
    assert data["profile"]["has_password"] is False
    assert [event["kind"] for event in data["history"]] == [
        "signed_in",
        *["sign_in_refused"] * 2,
        "registered",
    ]


def test_az8_audit_events_of_a_deleted_user_are_kept_without_personal_data(
    token: str, api: ApiClient, query: Query
) -> None:
    api.sign_in(ADA, "a wrong password")
    before = {kind for (kind,) in query("SELECT kind FROM events")}

    api.leave(token, password=PASSWORD)

    assert {"signed_in", "sign_in_refused"} <= before
    events = query("SELECT kind, user_id, address, device, session_id, details - 'method' FROM events")
    assert {kind for kind, *_ in events} == before | {"account_deleted"}
    for _, *user in events:
        assert user == [None, None, "", None, {}]


def test_lg4_the_user_is_notified_and_waiting_emails_expire(
    token: str, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    mailbox.deliver()
    api.ask_to_sign_in(ADA)
    api.ask_to_move(token, NEW, password=PASSWORD)

    api.leave(token, password=PASSWORD)

    assert mailbox.letters_to(ADA)[0].subject == "Your account at Portal was deleted"
    assert mailbox.letters_to(NEW) == []
    states: dict[str, str] = dict(query("SELECT kind, state FROM letters WHERE kind IN ('sign_in_code', 'email_code')"))
    assert states == {"sign_in_code": "expired", "email_code": "expired"}


def test_lg4_recent_former_addresses_are_notified_too(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    """An attacker who changes the address and deletes the account must not be the only one to be notified."""
    api.ask_to_move(token, NEW, password=PASSWORD)
    api.move(token, mailbox.code_sent_to(NEW))

    api.leave(token, password=PASSWORD)

    for email in (ADA, NEW):
        assert "was deleted" in mailbox.letters_to(email)[0].subject


def test_a_second_deletion_is_unauthorized(token: str, api: ApiClient) -> None:
    assert api.leave(token, password=PASSWORD).status_code == 200
    assert refusal(api.leave(token, password=PASSWORD))["code"] == "token_invalid"


def test_a_deletion_clears_the_session_cookies(ada: int, api: ApiClient) -> None:
    same_origin: dict[str, Any] = {"headers": {"Origin": "http://127.0.0.1:5000", "X-Requested-With": "portal"}}
    api.call("POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, **same_origin)

    forged = api.call("DELETE", "/me", json={"password": PASSWORD})
    assert refusal(forged)["code"] == "cross_site"
    assert api.call("DELETE", "/me", json={"password": PASSWORD}, **same_origin).status_code == 200

    assert api.client.get_cookie("access") is None
    assert api.client.get_cookie("refresh") is None


def test_in2_the_body_of_a_deletion_is_parsed_strictly(token: str, api: ApiClient) -> None:
    for data, content_type, code in (
        ("[", "application/json", "body_not_json"),
        ('{"password": "x", "password": "y"}', "application/json", "body_not_json"),
        ("password=x", "application/x-www-form-urlencoded", "content_type_unsupported"),
        ("{}" + " " * 17_000, "application/json", "body_too_large"),
    ):
        response = api.with_token(token, "DELETE", "/me", data=data, content_type=content_type)
        assert refusal(response)["code"] == code
    assert api.is_signed_in(token)


def test_the_swagger_document_describes_the_body_of_a_deletion(app: Flask) -> None:
    schema = app.test_client().get("/api/swagger.json").get_json()

    operations = schema["paths"]["/v1/users/me"]
    [body] = [parameter for parameter in operations["delete"]["parameters"] if parameter["in"] == "body"]
    assert body["schema"] == {"$ref": "#/definitions/DeleteAccountRequest"}
    assert "get" in operations


def test_a_signed_in_user_gets_an_error_beyond_the_limit_of_emailed_codes(
    token: str, api: ApiClient, query: Query
) -> None:
    api.ask_to_leave(token)
    query(
        "INSERT INTO letters (id, dedup_key, kind, recipient, recipient_key, language, not_after, state, ended_at)"
        " SELECT gen_random_uuid(), n, 'sign_in_code', recipient, recipient_key, 'en', now(), 'sent', now()"
        " FROM letters, generate_series(1, 10) n WHERE kind = 'deletion_code'"
    )

    response = api.ask_to_leave(token)

    assert (response.status_code, refusal(response)["code"]) == (429, "too_many_codes")
