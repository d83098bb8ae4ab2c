"""Changing the address: proved on the new one, announced on the old one, and undone from there."""

from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.stores import Query

NEW, GRACE = "lovelace@example.com", "grace@example.org"
MOVED = "The address of your account"


def moved(api: ApiClient, mailbox: Mailbox, token: str, email: str) -> None:
    """Change the email address, all steps of it."""
    assert api.ask_to_move(token, email, password=PASSWORD).status_code == 200
    assert api.move(token, mailbox.code_sent_to(email)).status_code == 200


def test_a_user_changes_the_email_address(token: str, ada: int, api: ApiClient, mailbox: Mailbox) -> None:
    asked = api.ask_to_move(token, NEW, password=PASSWORD)
    assert asked.get_json() == {"success": True, "result": "Ok", "data": {"expires_in": 600, "resend_after": 0}}
    assert api.look_up(NEW).status_code == 404, "nothing has moved yet"

    assert api.move(token, mailbox.code_sent_to(NEW)).get_json() == {"success": True, "result": "Ok"}

    assert api.with_token(token, "GET", "/me").get_json()["data"] == {
        "id": ada,
        "email": NEW,
        "roles": ["ROLE_PORTAL_USER"],
        "verified_mail": True,
    }
    assert api.sign_in(NEW, PASSWORD).status_code == 200
    assert api.sign_in(ADA, PASSWORD).status_code == 401
    assert api.look_up(ADA).status_code == 404


def test_lg4_the_old_address_is_told_and_does_not_learn_the_new_one(
    token: str, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    moved(api, mailbox, token, NEW)

    letter = mailbox.letters_to(ADA)[0]
    assert letter.subject == "The address of your account at Portal was changed"
    assert "l***@example.com" in letter.text
    assert NEW not in letter.text
    assert "/account/undo#" in letter.text
    assert "72 hours" in letter.text
    assert query("SELECT count(*) FROM events WHERE kind = 'email_changed'") == [(1,)]


def test_se3_a_change_needs_the_password(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    for proof, status, code in (
        ({}, 403, "reauthentication_required"),
        ({"password": None}, 403, "reauthentication_required"),
        ({"password": "a wrong password"}, 403, "password_wrong"),
        ({"password": ""}, 422, "validation_failed"),
    ):
        answer = api.ask_to_move(token, NEW, **proof)
        assert (answer.status_code, refusal(answer)["code"]) == (status, code), proof

    assert mailbox.letters_to(NEW) == []
    body = {"email": NEW, "password": PASSWORD}
    assert refusal(api.call("POST", "/me/email", json=body))["code"] == "token_missing"


@pytest.mark.clock
def test_se3_without_a_password_the_sign_in_has_to_be_fresh(api: ApiClient, mailbox: Mailbox, query: Query) -> None:
    api.register(GRACE, mailbox)
    api.ask_to_sign_in(GRACE)
    token = api.sign_in_by_code(GRACE, mailbox.code_sent_to(GRACE)).get_json()["data"]["access_token"]
    assert api.ask_to_move(token, NEW).status_code == 200

    query("UPDATE sessions SET authenticated_at = now() - interval '601 seconds'")

    assert refusal(api.ask_to_move(token, NEW))["code"] == "reauthentication_required"
    assert refusal(api.ask_to_move(token, NEW, password=PASSWORD))["code"] == "password_not_set"
    # Refreshing is no proof of anything; signing in again is.
    api.ask_to_sign_in(GRACE)
    fresh = api.sign_in_by_code(GRACE, mailbox.code_sent_to(GRACE)).get_json()["data"]["access_token"]
    assert api.ask_to_move(fresh, NEW).status_code == 200


def test_en1_the_answer_does_not_tell_who_has_the_address(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    ApiClient(app).register(GRACE, mailbox)
    ApiClient(app).sign_up("temporary@example.org")
    before = len(mailbox.letters_to(GRACE))

    addresses = [NEW, GRACE, ADA, "temporary@example.org"]
    answers = [api.ask_to_move(token, email, password=PASSWORD) for email in addresses]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert {answer.text for answer in answers} == {answers[0].text}
    assert {tuple(sorted(name for name, _ in answer.headers)) for answer in answers} == {
        tuple(sorted(name for name, _ in answers[0].headers))
    }
    assert len(mailbox.letters_to(GRACE)) == before, "nothing is sent to a user who has an account"
    assert not any("new address" in letter.subject for letter in mailbox.letters_to(ADA))
    assert mailbox.code_sent_to("temporary@example.org"), (
        "registering an address first does not keep it (account pre-hijacking)"
    )


@pytest.mark.parametrize("email", [NEW, GRACE, ADA])
def test_en1_guesses_are_judged_alike(token: str, api: ApiClient, app: Flask, mailbox: Mailbox, email: str) -> None:
    ApiClient(app).register(GRACE, mailbox)
    api.ask_to_move(token, email, password=PASSWORD)

    guesses = [refusal(api.move(token, "12345")) for _ in range(6)]  # of another length: never right by chance

    assert [(guess["code"], guess.get("attempts_left")) for guess in guesses] == [
        *[("code_wrong", left) for left in (4, 3, 2, 1, 0)],
        ("code_expired", None),
    ]


def test_a_temporary_user_makes_room(token: str, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    squatter = ApiClient(app)
    squatted = squatter.sign_up(NEW)

    moved(api, mailbox, token, NEW)

    assert refusal(squatter.ask_for_code(squatted))["code"] == "user_unknown"


def test_the_address_may_be_taken_meanwhile(token: str, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    api.ask_to_move(token, NEW, password=PASSWORD)
    code = mailbox.code_sent_to(NEW)
    ApiClient(app).register(NEW, mailbox, password=PASSWORD)

    answer = api.move(token, code)

    assert (answer.status_code, refusal(answer)["code"]) == (409, "email_taken")
    assert api.sign_in(ADA, PASSWORD).status_code == 200


def test_cd4_a_code_belongs_to_its_session(token: str, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    phone = ApiClient(app)
    other = phone.signed_in(ADA, PASSWORD)["access_token"]
    api.ask_to_move(token, NEW, password=PASSWORD)
    code = mailbox.code_sent_to(NEW)
    assert refusal(phone.move(other, code))["code"] == "code_expired", "it wants nothing"
    phone.ask_to_move(other, "else@example.org", password=PASSWORD)

    for _ in range(6):  # not even by burning it
        assert refusal(phone.move(other, code))["code"] in ("code_wrong", "code_expired")

    assert api.move(token, code).status_code == 200


def test_cd4_a_code_belongs_to_its_purpose_and_user(token: str, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    grace = ApiClient(app)
    grace.register(GRACE, mailbox, password=PASSWORD)
    hers = grace.signed_in(GRACE, PASSWORD)["access_token"]
    api.ask_to_move(token, NEW, password=PASSWORD)
    code = mailbox.code_sent_to(NEW)
    api.ask_to_leave(token)
    of_deletion = mailbox.code_sent_to(ADA)
    grace.ask_to_move(hers, NEW, password=PASSWORD)

    assert refusal(api.leave(token, code=code))["code"] == "code_wrong"
    assert refusal(api.move(token, of_deletion))["code"] == "code_wrong"
    assert refusal(grace.move(hers, code))["code"] == "code_wrong"
    assert refusal(api.sign_in_by_code(NEW, code))["code"] == "credentials_rejected"
    assert api.move(token, code).status_code == 200


def test_a_newer_wish_takes_the_place_of_the_older(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    api.ask_to_move(token, NEW, password=PASSWORD)
    older = mailbox.code_sent_to(NEW)
    api.ask_to_move(token, "else@example.org", password=PASSWORD)

    assert refusal(api.move(token, older))["code"] == "code_wrong"
    assert api.move(token, mailbox.code_sent_to("else@example.org")).status_code == 200
    assert api.with_token(token, "GET", "/me").get_json()["data"]["email"] == "else@example.org"
    again = api.move(token, mailbox.code_sent_to("else@example.org"))
    assert refusal(again)["code"] == "code_expired", "a code works once"


def test_cd3_wishing_to_and_fro_does_not_refill_the_guesses(token: str, api: ApiClient) -> None:
    left = []
    for email in (NEW, "else@example.org", NEW):
        api.ask_to_move(token, email, password=PASSWORD)
        left += [refusal(api.move(token, "12345")).get("attempts_left") for _ in range(2)]

    assert left == [4, 3, 4, 3, 2, 1]


def test_cd4_codes_mailed_to_the_old_address_are_dead(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    api.ask_to_sign_in(ADA)
    to_sign_in = mailbox.code_sent_to(ADA)
    api.ask_to_recover(ADA)
    to_recover = mailbox.code_sent_to(ADA)

    moved(api, mailbox, token, NEW)

    for email in (ADA, NEW):
        assert refusal(api.sign_in_by_code(email, to_sign_in))["code"] == "credentials_rejected"
        assert refusal(api.recover(email, to_recover, "analytical engines"))["code"] == "code_expired"


def test_az2_pending_changes_of_other_sessions_end_with_it(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    phone = ApiClient(app)
    other = phone.signed_in(ADA, PASSWORD)["access_token"]
    phone.ask_to_move(other, "else@example.org", password=PASSWORD)
    code = mailbox.code_sent_to("else@example.org")

    moved(api, mailbox, token, NEW)

    assert query("SELECT count(*) FROM email_changes") == [(0,)]
    assert refusal(phone.move(other, code))["code"] == "code_expired"


def test_cd10_a_user_may_begin_five_changes_an_hour(token: str, api: ApiClient) -> None:
    answers = [api.ask_to_move(token, f"{n}@example.org", password=PASSWORD) for n in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert refusal(answers[-1])["code"] == "too_many_codes"


@pytest.mark.parametrize(
    "body",
    [{}, {"email": "no address"}, {"email": NEW, "password": 1}, {"email": NEW, "password": PASSWORD, "user_id": 1}],
)
def test_az3_other_bodies_do_not_fit(token: str, api: ApiClient, body: Any) -> None:
    assert refusal(api.with_token(token, "POST", "/me/email", json=body))["code"] == "validation_failed"


# Undoing.


def test_lg4_the_old_address_takes_the_account_back(token: str, ada: int, api: ApiClient, mailbox: Mailbox) -> None:
    moved(api, mailbox, token, NEW)

    assert api.undo(mailbox.undo_sent_to(ADA, about=MOVED)).status_code == 200

    assert not api.is_signed_in(token)
    assert api.sign_in(NEW, PASSWORD).status_code == 401
    assert api.sign_in(ADA, PASSWORD).status_code == 401, "another person may know it"
    assert api.look_up(ADA).get_json()["data"]["id"] == ada
    api.ask_to_recover(ADA)
    assert api.recover(ADA, mailbox.code_sent_to(ADA), "analytical engines").status_code == 200
    assert api.sign_in(ADA, "analytical engines").status_code == 200


def test_an_undo_takes_the_address_back_from_a_squatter_but_not_from_its_owner(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    moved(api, mailbox, token, NEW)
    undo = mailbox.undo_sent_to(ADA, about=MOVED)
    squatter = ApiClient(app)
    squatter.register(ADA, mailbox, password=PASSWORD)

    answer = api.undo(undo)

    assert (answer.status_code, refusal(answer)["code"]) == (409, "email_taken")
    squatter.leave(squatter.signed_in(ADA, PASSWORD)["access_token"], password=PASSWORD)
    squatter.sign_up(ADA)
    assert api.undo(undo).status_code == 200, "refused is not used"


def test_an_older_undo_outlives_what_a_newer_one_undoes(token: str, ada: int, api: ApiClient, mailbox: Mailbox) -> None:
    """A thief moves the account twice, and would use the second letter, which is theirs, against the first."""
    moved(api, mailbox, token, "thief@example.com")
    moved(api, mailbox, token, "thief@example.net")
    of_the_thief = mailbox.undo_sent_to("thief@example.com", about=MOVED)

    assert api.undo(of_the_thief).status_code == 200
    assert api.look_up("thief@example.com").get_json()["data"]["id"] == ada

    assert api.undo(mailbox.undo_sent_to(ADA, about=MOVED)).status_code == 200
    assert api.look_up(ADA).get_json()["data"]["id"] == ada


def test_undoing_the_older_change_ends_the_newer_undo(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    moved(api, mailbox, token, "thief@example.com")
    moved(api, mailbox, token, "thief@example.net")

    assert api.undo(mailbox.undo_sent_to(ADA, about=MOVED)).status_code == 200

    of_the_thief = mailbox.undo_sent_to("thief@example.com", about=MOVED)
    assert refusal(api.undo(of_the_thief))["code"] == "undo_unknown"


def test_undoing_a_sign_in_leaves_the_undo_of_the_address(
    token: str, ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    ApiClient(app).signed_in(ADA, PASSWORD)
    moved(api, mailbox, token, NEW)

    assert api.undo(mailbox.undo_sent_to(ADA, about="device")).status_code == 200
    assert api.undo(mailbox.undo_sent_to(ADA, about=MOVED)).status_code == 200

    assert api.look_up(ADA).get_json()["data"]["id"] == ada


@pytest.mark.clock
def test_an_undo_works_for_72_hours(token: str, api: ApiClient, mailbox: Mailbox, query: Query) -> None:
    moved(api, mailbox, token, NEW)
    [(hours,)] = query("SELECT extract(epoch FROM expires_at - now()) / 3600 FROM undos WHERE kind = 'email_changed'")
    assert 71.9 < hours <= 72

    query("UPDATE undos SET expires_at = now()")

    assert refusal(api.undo(mailbox.undo_sent_to(ADA, about=MOVED)))["code"] == "undo_unknown"
