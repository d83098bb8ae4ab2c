"""Email change to one's own address: another spelling is changed by code, the same spelling is an error."""

import itertools
from collections.abc import Callable

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.stores import Query

SPELLINGS = ["Ada@example.org", "ADA@example.org", "aDA@EXAMPLE.org", "Ada@ＥXAMPLE.org"]


def stored_email(query: Query) -> str:
    """The stored spelling of the address of the only user."""
    [(email,)] = query("SELECT email FROM users")
    return str(email)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_user_changes_the_spelling_of_the_own_address_by_code(
    token: str, ada: int, api: ApiClient, mailbox: Mailbox, query: Query, spelling: str
) -> None:
    stored = spelling.replace("ＥXAMPLE", "example").replace("EXAMPLE", "example")

    assert api.ask_to_move(token, spelling, password=PASSWORD).status_code == 200
    assert stored_email(query) == ADA, "only the code changes it"
    assert api.move(token, mailbox.code_sent_to(stored)).status_code == 200

    assert stored_email(query) == stored
    assert api.with_token(token, "GET", "/me").get_json()["data"]["email"] == stored
    assert api.look_up(ADA).get_json()["data"]["id"] == ada
    assert api.sign_in(ADA, PASSWORD).status_code == 200
    sent = query("SELECT kind, recipient FROM letters WHERE kind LIKE 'email%' ORDER BY kind")
    assert sent == [("email_changed", ADA), ("email_code", stored)]


@pytest.mark.parametrize("spelling", [ADA, "ada@EXAMPLE.org", "ada@ｅxample.org", "ada@example．org"])
def test_the_same_spelling_is_an_error_and_sends_nothing(
    token: str, api: ApiClient, query: Query, spelling: str
) -> None:
    before = query("SELECT count(*) FROM letters")
    for _ in range(7):
        for proof in ({"password": PASSWORD}, {}, {"password": "a wrong password"}):
            answer = api.ask_to_move(token, spelling, **proof)
            assert (answer.status_code, refusal(answer)["code"]) == (409, "email_unchanged")

    assert query("SELECT count(*) FROM letters") == before
    assert query("SELECT count(*) FROM email_changes") == [(0,)]
    assert api.ask_to_move(token, "else@example.org", password=PASSWORD).status_code == 200, "nothing was counted"


def test_the_former_spelling_can_be_restored(token: str, api: ApiClient, mailbox: Mailbox, query: Query) -> None:
    for spelling in ("Ada@example.org", ADA):
        assert api.ask_to_move(token, spelling, password=PASSWORD).status_code == 200
        assert api.move(token, mailbox.code_sent_to(spelling)).status_code == 200
        assert stored_email(query) == spelling
        assert refusal(api.ask_to_move(token, spelling, password=PASSWORD))["code"] == "email_unchanged"


def test_a_revert_restores_the_former_spelling(token: str, api: ApiClient, mailbox: Mailbox, query: Query) -> None:
    api.ask_to_move(token, "Ada@example.org", password=PASSWORD)
    api.move(token, mailbox.code_sent_to("Ada@example.org"))

    assert api.undo(mailbox.undo_sent_to(ADA, about="The address of your account")).status_code == 200

    assert stored_email(query) == ADA


def test_a_change_that_is_requested_again_sends_another_code(
    token: str, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    codes = []
    for _ in range(2):
        assert api.ask_to_move(token, "Ada@example.org", password=PASSWORD).status_code == 200
        codes.append(mailbox.code_sent_to("Ada@example.org"))

    assert query("SELECT count(*) FROM letters WHERE kind = 'email_code'") == [(2,)]
    assert api.move(token, codes[1]).status_code == 200


def test_cd10_the_owner_learns_that_the_own_address_has_reached_the_daily_cap(
    ada: int, make_app: MakeApp, query: Query, forget_everything_in_redis: Callable[[], None]
) -> None:
    """PostgreSQL counts the codes of a day too, so the cap holds after a loss of Redis."""
    api = ApiClient(make_app(limit_codes_a_day=3, limit_codes_reserved=0))
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    for _ in range(2):
        assert api.ask_to_sign_in(ADA).status_code == 200
    sent = query("SELECT count(*) FROM letters")
    forget_everything_in_redis()

    answer = api.ask_to_move(token, "Ada@example.org", password=PASSWORD)

    assert (answer.status_code, refusal(answer)["code"]) == (429, "too_many_codes")
    assert 0 < refusal(answer)["retry_after"] <= 86400
    assert query("SELECT count(*) FROM letters") == sent


def test_en1_the_address_of_another_user_still_gets_the_answer_of_a_free_one(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    ApiClient(app).register("grace@example.org", mailbox)
    before = query("SELECT count(*) FROM letters")

    for address in ("grace@example.org", "Grace@example.org"):
        answer = api.ask_to_move(token, address, password=PASSWORD)
        assert answer.status_code == 200
        assert answer.get_json()["data"]["expires_in"] == 600
        assert refusal(api.move(token, "000000"))["code"] == "code_wrong"
    assert query("SELECT count(*) FROM letters") == before


def test_every_other_spelling_of_the_own_address_is_sent_a_code(ada: int, make_app: MakeApp, query: Query) -> None:
    api = ApiClient(make_app(rate_limits="off"))
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    spellings = {"".join(letters) + "@example.org" for letters in itertools.product("aA", "dD", "aA")}

    answers = {spelling: api.ask_to_move(token, spelling, password=PASSWORD).status_code for spelling in spellings}

    assert answers == {spelling: 409 if spelling == ADA else 200 for spelling in spellings}
    sent = query("SELECT recipient FROM letters WHERE kind = 'email_code'")
    assert {recipient for (recipient,) in sent} == spellings - {ADA}
