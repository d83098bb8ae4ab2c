"""The registration, as its people live through it."""

from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.actors import Mailbox, Visitor, refusal

ADA = "ada@example.org"


def code_of(answer: TestResponse) -> str:
    """The `error.code` of a refusal."""
    code: str = refusal(answer)["code"]
    return code


def test_a_code_confirms_the_address_once(visitor: Visitor, mailbox: Mailbox) -> None:
    ada = visitor.sign_up(ADA)
    visitor.ask_for_code(ada)
    code = mailbox.code_sent_to(ADA)

    first = visitor.confirm(ada, code)
    again = visitor.confirm(ada, code)

    assert first.json == {"success": True, "result": "Ok"}
    assert code_of(again) == "code_expired"


def test_cd3_five_wrong_guesses_burn_the_code(visitor: Visitor) -> None:
    ada = visitor.sign_up(ADA)
    visitor.ask_for_code(ada, 7505)

    left = [refusal(visitor.confirm(ada, "1111"))["attempts_left"] for _ in range(5)]

    assert left == [4, 3, 2, 1, 0]
    assert code_of(visitor.confirm(ada, 7505)) == "code_expired"


def test_cd3_a_new_code_does_not_refill_the_guesses(visitor: Visitor) -> None:
    ada = visitor.sign_up(ADA)
    visitor.ask_for_code(ada, 7505)
    for _ in range(3):
        visitor.confirm(ada, "1111")

    visitor.ask_again(ada, 7506)

    assert refusal(visitor.confirm(ada, "1111"))["attempts_left"] == 1


def test_a_new_code_after_a_burnt_one_can_be_guessed_again(visitor: Visitor) -> None:
    ada = visitor.sign_up(ADA)
    visitor.ask_for_code(ada, 7505)
    for _ in range(5):
        visitor.confirm(ada, "1111")

    visitor.ask_again(ada, 7506)

    assert visitor.confirm(ada, 7506).status_code == 200


def test_cd1_production_mails_a_code_of_its_own(production: Flask, mailbox_of_production: Mailbox) -> None:
    visitor = Visitor(production)
    ada = visitor.sign_up(ADA)
    assert visitor.ask_for_code(ada, 7505).status_code == 200

    assert code_of(visitor.confirm(ada, 7505)) == "code_wrong"
    code = mailbox_of_production.code_sent_to(ADA)
    assert len(code) == 6
    assert visitor.confirm(ada, code).status_code == 200
    assert visitor.finish(ada).get_json()["data"]["roles"] == ["ROLE_PORTAL_USER"]


def test_cd4_a_stranger_without_the_ticket_gets_nowhere(production: Flask, mailbox_of_production: Mailbox) -> None:
    owner, stranger = Visitor(production), Visitor(production, address="198.51.100.9")
    ada = owner.sign_up(ADA)
    owner.ask_for_code(ada)
    code = mailbox_of_production.code_sent_to(ADA)

    assert code_of(stranger.confirm(ada, code)) == "code_expired"
    for _ in range(7):
        stranger.confirm(ada, "000000")
    assert owner.confirm(ada, code).status_code == 200
    assert code_of(stranger.finish(ada, password="a stranger's choice")) == "mail_not_confirmed"
    assert owner.finish(ada).status_code == 200
    assert code_of(stranger.finish(ada)) == "mail_not_confirmed"


def test_cd9_finishing_kills_every_other_ticket(production: Flask, mailbox_of_production: Mailbox) -> None:
    phone, laptop = Visitor(production), Visitor(production)
    ada = phone.sign_up(ADA)
    phone.ask_for_code(ada)
    phones_code = mailbox_of_production.code_sent_to(ADA)
    laptop.ask_for_code(ada)
    laptops_code = mailbox_of_production.code_sent_to(ADA)
    assert laptop.confirm(ada, laptops_code).status_code == 200
    assert phone.confirm(ada, phones_code).status_code == 200

    assert phone.finish(ada).status_code == 200

    assert code_of(laptop.finish(ada, password="correct horse battery")) == "mail_not_confirmed"
    assert code_of(laptop.ask_again(ada)) == "mail_already_verified"


def test_cd7_finishing_needs_the_code_first(visitor: Visitor) -> None:
    ada = visitor.sign_up(ADA)
    assert code_of(visitor.finish(ada)) == "mail_not_confirmed"
    visitor.ask_for_code(ada, 7505)
    assert code_of(visitor.finish(ada)) == "mail_not_confirmed"


def test_a_lost_answer_is_given_again(visitor: Visitor, mailbox: Mailbox) -> None:
    ada = visitor.register(ADA, mailbox, password="correct horse battery")

    again = visitor.finish(ada, password="correct horse battery")
    other = visitor.finish(ada, password="another horse battery")

    assert again.status_code == 200
    assert code_of(other) == "password_already_set"


@pytest.mark.parametrize("language", ["ru", "en"])
def test_letters_speak_the_language_of_the_person(app: Flask, mailbox: Mailbox, language: str) -> None:
    visitor = Visitor(app, language=language)
    ada = visitor.sign_up(ADA)
    visitor.ask_for_code(ada, 7505)
    letter = mailbox.letters_to(ADA)[0]
    assert letter.language == language
    assert letter.subject.startswith("7505")


def test_the_daily_cap_outlives_redis(
    visitor: Visitor, forget_everything_in_redis: Callable[[], None], mailbox: Mailbox
) -> None:
    ada = visitor.sign_up(ADA)
    answers = []
    for _ in range(12):
        answers.append(visitor.ask_for_code(ada).status_code)
        forget_everything_in_redis()
    assert answers == [200] * 10 + [429] * 2
    refused = visitor.ask_for_code(ada)
    assert code_of(refused) == "too_many_codes"
    assert 80_000 < int(refused.headers["Retry-After"]) <= 86_400
    assert len(mailbox.deliver()) == 10
