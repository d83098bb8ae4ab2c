"""Email address change: verified at the new address, notified to the old address, reverted from the old address."""

from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.stores import Query

NEW, GRACE = "lovelace@example.com", "grace@example.org"
CHANGED_SUBJECT = "The address of your account"


def change_address(api: ApiClient, mailbox: Mailbox, token: str, email: str) -> None:
    """Complete an email address change."""
    assert api.ask_to_move(token, email, password=PASSWORD).status_code == 200
    assert api.move(token, mailbox.code_sent_to(email)).status_code == 200


def test_a_user_changes_the_email_address(token: str, ada: int, api: ApiClient, mailbox: Mailbox) -> None:
    requested = api.ask_to_move(token, NEW, password=PASSWORD)
    assert requested.get_json() == {"success": True, "result": "Ok", "data": {"expires_in": 600, "resend_after": 0}}
    assert api.look_up(NEW).status_code == 404, "the address has not changed yet"

    assert api.move(token, mailbox.code_sent_to(NEW)).get_json() == {"success": True, "result": "Ok"}

    me = api.with_token(token, "GET", "/me").get_json()["data"]
    assert (me["id"], me["email"], me["roles"], me["verified_mail"]) == (ada, NEW, ["ROLE_PORTAL_USER"], True)
    assert api.sign_in(NEW, PASSWORD).status_code == 200
    assert api.sign_in(ADA, PASSWORD).status_code == 401
    assert api.look_up(ADA).status_code == 404


def test_lg4_the_old_address_is_notified_without_the_new_address(
    token: str, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    change_address(api, mailbox, token, NEW)

    notification = mailbox.letters_to(ADA)[0]
    assert notification.subject == "The address of your account at Portal was changed"
    assert "l***@example.com" in notification.text
    assert NEW not in notification.text
    assert "/account/undo#" in notification.text
    assert "72 hours" in notification.text
    assert query("SELECT count(*) FROM events WHERE kind = 'email_changed'") == [(1,)]


def test_se3_an_address_change_requires_the_password(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    for credentials, status, code in (
        ({}, 403, "reauthentication_required"),
        ({"password": None}, 403, "reauthentication_required"),
        ({"password": "a wrong password"}, 403, "password_wrong"),
        ({"password": ""}, 422, "validation_failed"),
    ):
        response = api.ask_to_move(token, NEW, **credentials)
        assert (response.status_code, refusal(response)["code"]) == (status, code), credentials

    assert mailbox.letters_to(NEW) == []
    body = {"email": NEW, "password": PASSWORD}
    assert refusal(api.call("POST", "/me/email", json=body))["code"] == "token_missing"


@pytest.mark.clock
def test_se3_without_a_password_a_change_requires_a_recent_sign_in(
    api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    api.register(GRACE, mailbox)
    api.ask_to_sign_in(GRACE)
    token = api.sign_in_by_code(GRACE, mailbox.code_sent_to(GRACE)).get_json()["data"]["access_token"]
    assert api.ask_to_move(token, NEW).status_code == 200

    query("UPDATE sessions SET authenticated_at = now() - interval '601 seconds'")

    assert refusal(api.ask_to_move(token, NEW))["code"] == "reauthentication_required"
    assert refusal(api.ask_to_move(token, NEW, password=PASSWORD))["code"] == "password_not_set"
    # A refresh is no reauthentication; a new sign-in is.
    api.ask_to_sign_in(GRACE)
    recent_token = api.sign_in_by_code(GRACE, mailbox.code_sent_to(GRACE)).get_json()["data"]["access_token"]
    assert api.ask_to_move(recent_token, NEW).status_code == 200


def test_en1_the_response_does_not_reveal_whether_the_address_has_an_account(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    ApiClient(app).register(GRACE, mailbox)
    ApiClient(app).sign_up("temporary@example.org")
    before = len(mailbox.letters_to(GRACE))

    addresses = [NEW, GRACE, "Ada@example.org", "temporary@example.org"]
    responses = [api.ask_to_move(token, email, password=PASSWORD) for email in addresses]

    assert [response.status_code for response in responses] == [200] * 4
    assert {response.text for response in responses} == {responses[0].text}
    assert {tuple(sorted(name for name, _ in response.headers)) for response in responses} == {
        tuple(sorted(name for name, _ in responses[0].headers))
    }
    assert len(mailbox.letters_to(GRACE)) == before, "nothing is sent to a user who has an account"
    assert mailbox.code_sent_to("temporary@example.org"), (
        "registering an address first does not keep it (account pre-hijacking)"
    )


@pytest.mark.parametrize("email", [NEW, GRACE, "Ada@example.org"])
def test_en1_wrong_codes_get_the_same_errors_for_every_address(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox, email: str
) -> None:
    ApiClient(app).register(GRACE, mailbox)
    api.ask_to_move(token, email, password=PASSWORD)

    errors = [refusal(api.move(token, "12345")) for _ in range(6)]  # of another length, so never the right code

    assert [(error["code"], error.get("attempts_left")) for error in errors] == [
        *[("code_wrong", left) for left in (4, 3, 2, 1, 0)],
        ("code_expired", None),
    ]


def test_an_address_change_replaces_a_temporary_user(token: str, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    attacker = ApiClient(app)
    temporary_user = attacker.sign_up(NEW)

    change_address(api, mailbox, token, NEW)

    assert refusal(attacker.ask_for_code(temporary_user))["code"] == "user_unknown"


def test_an_address_change_fails_when_the_address_was_registered_meanwhile(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    api.ask_to_move(token, NEW, password=PASSWORD)
    code = mailbox.code_sent_to(NEW)
    ApiClient(app).register(NEW, mailbox, password=PASSWORD)

    response = api.move(token, code)

    assert (response.status_code, refusal(response)["code"]) == (409, "email_taken")
    assert api.sign_in(ADA, PASSWORD).status_code == 200


def test_cd4_a_code_is_bound_to_its_session(token: str, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    phone = ApiClient(app)
    other = phone.signed_in(ADA, PASSWORD)["access_token"]
    api.ask_to_move(token, NEW, password=PASSWORD)
    code = mailbox.code_sent_to(NEW)
    assert refusal(phone.move(other, code))["code"] == "code_expired", "the session has no pending change"
    phone.ask_to_move(other, "else@example.org", password=PASSWORD)

    for _ in range(6):  # failed attempts of another session do not invalidate the code
        assert refusal(phone.move(other, code))["code"] in ("code_wrong", "code_expired")

    assert api.move(token, code).status_code == 200


def test_cd4_a_code_is_bound_to_its_purpose_and_user(token: str, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    grace = ApiClient(app)
    grace.register(GRACE, mailbox, password=PASSWORD)
    grace_token = grace.signed_in(GRACE, PASSWORD)["access_token"]
    api.ask_to_move(token, NEW, password=PASSWORD)
    code = mailbox.code_sent_to(NEW)
    api.ask_to_leave(token)
    deletion_code = mailbox.code_sent_to(ADA)
    grace.ask_to_move(grace_token, NEW, password=PASSWORD)

    assert refusal(api.leave(token, code=code))["code"] == "code_wrong"
    assert refusal(api.move(token, deletion_code))["code"] == "code_wrong"
    assert refusal(grace.move(grace_token, code))["code"] == "code_wrong"
    assert refusal(api.sign_in_by_code(NEW, code))["code"] == "credentials_rejected"
    assert api.move(token, code).status_code == 200


def test_a_newer_change_request_replaces_the_older(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    api.ask_to_move(token, NEW, password=PASSWORD)
    older_code = mailbox.code_sent_to(NEW)
    api.ask_to_move(token, "else@example.org", password=PASSWORD)

    assert refusal(api.move(token, older_code))["code"] == "code_wrong"
    assert api.move(token, mailbox.code_sent_to("else@example.org")).status_code == 200
    assert api.with_token(token, "GET", "/me").get_json()["data"]["email"] == "else@example.org"
    replayed = api.move(token, mailbox.code_sent_to("else@example.org"))
    assert refusal(replayed)["code"] == "code_expired", "a code works once"


def test_cd3_repeated_change_requests_do_not_reset_failed_attempts(token: str, api: ApiClient) -> None:
    attempts_left = []
    for email in (NEW, "else@example.org", NEW):
        api.ask_to_move(token, email, password=PASSWORD)
        attempts_left += [refusal(api.move(token, "12345")).get("attempts_left") for _ in range(2)]

    assert attempts_left == [4, 3, 4, 3, 2, 1]


def test_cd4_codes_sent_to_the_old_address_are_invalid_after_the_change(
    token: str, api: ApiClient, mailbox: Mailbox
) -> None:
    api.ask_to_sign_in(ADA)
    sign_in_code = mailbox.code_sent_to(ADA)
    api.ask_to_recover(ADA)
    reset_code = mailbox.code_sent_to(ADA)

    change_address(api, mailbox, token, NEW)

    for email in (ADA, NEW):
        assert refusal(api.sign_in_by_code(email, sign_in_code))["code"] == "credentials_rejected"
        assert refusal(api.recover(email, reset_code, "analytical engines"))["code"] == "code_expired"


def test_az2_an_address_change_cancels_pending_changes_of_other_sessions(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    phone = ApiClient(app)
    other = phone.signed_in(ADA, PASSWORD)["access_token"]
    phone.ask_to_move(other, "else@example.org", password=PASSWORD)
    code = mailbox.code_sent_to("else@example.org")

    change_address(api, mailbox, token, NEW)

    assert query("SELECT count(*) FROM email_changes") == [(0,)]
    assert refusal(phone.move(other, code))["code"] == "code_expired"


def test_cd10_a_user_may_request_five_changes_an_hour(token: str, api: ApiClient) -> None:
    responses = [api.ask_to_move(token, f"{n}@example.org", password=PASSWORD) for n in range(6)]

    assert [response.status_code for response in responses] == [200] * 5 + [429]
    assert refusal(responses[-1])["code"] == "too_many_codes"


@pytest.mark.parametrize(
    "body",
    [{}, {"email": "no address"}, {"email": NEW, "password": 1}, {"email": NEW, "password": PASSWORD, "user_id": 1}],
)
def test_az3_an_invalid_body_is_rejected(token: str, api: ApiClient, body: Any) -> None:
    assert refusal(api.with_token(token, "POST", "/me/email", json=body))["code"] == "validation_failed"


# Account revert.


def test_lg4_a_revert_from_the_old_address_restores_the_account(
    token: str, ada: int, api: ApiClient, mailbox: Mailbox
) -> None:
    change_address(api, mailbox, token, NEW)

    assert api.undo(mailbox.undo_sent_to(ADA, about=CHANGED_SUBJECT)).status_code == 200

    assert not api.is_signed_in(token)
    assert api.sign_in(NEW, PASSWORD).status_code == 401
    assert api.sign_in(ADA, PASSWORD).status_code == 401, "an attacker may know the password"
    assert api.look_up(ADA).get_json()["data"]["id"] == ada
    api.ask_to_recover(ADA)
    assert api.recover(ADA, mailbox.code_sent_to(ADA), "analytical engines").status_code == 200
    assert api.sign_in(ADA, "analytical engines").status_code == 200


def test_a_revert_replaces_a_temporary_user_of_the_address_but_no_registered_user(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    change_address(api, mailbox, token, NEW)
    revert_token = mailbox.undo_sent_to(ADA, about=CHANGED_SUBJECT)
    other_user = ApiClient(app)
    other_user.register(ADA, mailbox, password=PASSWORD)

    response = api.undo(revert_token)

    assert (response.status_code, refusal(response)["code"]) == (409, "email_taken")
    other_user.leave(other_user.signed_in(ADA, PASSWORD)["access_token"], password=PASSWORD)
    other_user.sign_up(ADA)
    assert api.undo(revert_token).status_code == 200, "a rejected request does not consume the token"


def test_an_older_revert_token_stays_valid_after_a_newer_change_is_reverted(
    token: str, ada: int, api: ApiClient, mailbox: Mailbox
) -> None:
    """An attacker changes the address twice, and redeems the revert token sent to the first of these addresses."""
    change_address(api, mailbox, token, "thief@example.com")
    change_address(api, mailbox, token, "thief@example.net")
    attacker_token = mailbox.undo_sent_to("thief@example.com", about=CHANGED_SUBJECT)

    assert api.undo(attacker_token).status_code == 200
    assert api.look_up("thief@example.com").get_json()["data"]["id"] == ada

    assert api.undo(mailbox.undo_sent_to(ADA, about=CHANGED_SUBJECT)).status_code == 200
    assert api.look_up(ADA).get_json()["data"]["id"] == ada


def test_reverting_an_older_change_invalidates_the_newer_revert_token(
    token: str, api: ApiClient, mailbox: Mailbox
) -> None:
    change_address(api, mailbox, token, "thief@example.com")
    change_address(api, mailbox, token, "thief@example.net")

    assert api.undo(mailbox.undo_sent_to(ADA, about=CHANGED_SUBJECT)).status_code == 200

    attacker_token = mailbox.undo_sent_to("thief@example.com", about=CHANGED_SUBJECT)
    assert refusal(api.undo(attacker_token))["code"] == "undo_unknown"


def test_reverting_a_sign_in_keeps_the_revert_token_of_the_address_change(
    token: str, ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    ApiClient(app).signed_in(ADA, PASSWORD)
    change_address(api, mailbox, token, NEW)

    assert api.undo(mailbox.undo_sent_to(ADA, about="device")).status_code == 200
    assert api.undo(mailbox.undo_sent_to(ADA, about=CHANGED_SUBJECT)).status_code == 200

    assert api.look_up(ADA).get_json()["data"]["id"] == ada


@pytest.mark.clock
def test_a_revert_token_expires_after_72_hours(token: str, api: ApiClient, mailbox: Mailbox, query: Query) -> None:
    change_address(api, mailbox, token, NEW)
    [(hours,)] = query("SELECT extract(epoch FROM expires_at - now()) / 3600 FROM undos WHERE kind = 'email_changed'")
    assert 71.9 < hours <= 72

    query("UPDATE undos SET expires_at = now()")

    assert refusal(api.undo(mailbox.undo_sent_to(ADA, about=CHANGED_SUBJECT)))["code"] == "undo_unknown"
