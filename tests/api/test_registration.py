"""The registration, as its people live through it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.round_trips import counted
from tests.support.stores import Query

ADA = "ada@example.org"


def code_of(answer: TestResponse) -> str:
    """The `error.code` of a refusal."""
    code: str = refusal(answer)["code"]
    return code


def test_a_code_confirms_the_address_once(api: ApiClient, mailbox: Mailbox) -> None:
    ada = api.sign_up(ADA)
    api.ask_for_code(ada)
    code = mailbox.code_sent_to(ADA)

    first = api.confirm(ada, code)
    again = api.confirm(ada, code)

    assert first.json == {"success": True, "result": "Ok"}
    assert code_of(again) == "code_expired"


def test_cd3_five_wrong_guesses_burn_the_code(api: ApiClient) -> None:
    ada = api.sign_up(ADA)
    api.ask_for_code(ada, 7505)

    left = [refusal(api.confirm(ada, "1111"))["attempts_left"] for _ in range(5)]

    assert left == [4, 3, 2, 1, 0]
    assert code_of(api.confirm(ada, 7505)) == "code_expired"


def test_cd3_a_new_code_does_not_refill_the_guesses(api: ApiClient) -> None:
    ada = api.sign_up(ADA)
    api.ask_for_code(ada, 7505)
    for _ in range(3):
        api.confirm(ada, "1111")

    api.ask_again(ada, 7506)

    assert refusal(api.confirm(ada, "1111"))["attempts_left"] == 1


def test_a_new_code_after_a_burnt_one_can_be_guessed_again(api: ApiClient) -> None:
    ada = api.sign_up(ADA)
    api.ask_for_code(ada, 7505)
    for _ in range(5):
        api.confirm(ada, "1111")

    api.ask_again(ada, 7506)

    assert api.confirm(ada, 7506).status_code == 200


def test_cd1_production_mails_a_code_of_its_own(production: Flask, mailbox_of_production: Mailbox) -> None:
    api = ApiClient(production)
    ada = api.sign_up(ADA)
    assert api.ask_for_code(ada, 7505).status_code == 200

    assert code_of(api.confirm(ada, 7505)) == "code_wrong"
    code = mailbox_of_production.code_sent_to(ADA)
    assert len(code) == 6
    assert api.confirm(ada, code).status_code == 200
    assert api.finish(ada).get_json()["data"]["roles"] == ["ROLE_PORTAL_USER"]


def test_cd4_a_stranger_without_the_ticket_gets_nowhere(production: Flask, mailbox_of_production: Mailbox) -> None:
    owner, stranger = ApiClient(production), ApiClient(production, address="198.51.100.9")
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
    phone, laptop = ApiClient(production), ApiClient(production)
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


def test_cd7_finishing_needs_the_code_first(api: ApiClient) -> None:
    ada = api.sign_up(ADA)
    assert code_of(api.finish(ada)) == "mail_not_confirmed"
    api.ask_for_code(ada, 7505)
    assert code_of(api.finish(ada)) == "mail_not_confirmed"


def test_a_lost_answer_is_given_again(api: ApiClient, mailbox: Mailbox) -> None:
    ada = api.register(ADA, mailbox, password="correct horse battery")

    again = api.finish(ada, password="correct horse battery")
    other = api.finish(ada, password="another horse battery")

    assert again.status_code == 200
    assert code_of(other) == "password_already_set"


def test_pw12_finishing_again_is_no_way_to_guess_the_password(api: ApiClient, mailbox: Mailbox, query: Query) -> None:
    ada = api.register(ADA, mailbox, password="correct horse battery")

    codes = [code_of(api.finish(ada, password=f"wrong horse battery {number}")) for number in range(66)]

    assert codes == ["password_already_set"] * 64 + ["too_many_attempts"] * 2
    assert code_of(api.finish(ada, password="correct horse battery")) == "too_many_attempts"
    assert query("SELECT DISTINCT kind, user_id FROM events WHERE outcome = 'failure'") == [("password_refused", ada)]
    assert api.sign_in(ADA, "correct horse battery").status_code == 200, "guessing there keeps nobody out here"


@pytest.mark.parametrize("password", [None, "another horse battery"])
def test_cd4_a_ticket_of_a_registration_is_worth_nothing_once_the_account_has_changed(
    api: ApiClient, mailbox: Mailbox, password: str | None
) -> None:
    ada = api.register(ADA, mailbox, password="correct horse battery")
    token = api.signed_in(ADA, "correct horse battery")["access_token"]
    assert api.finish(ada).status_code == 200
    assert api.change_password(token, "correct horse battery", "another horse battery").status_code == 200

    assert code_of(api.finish(ada, password=password)) == "mail_not_confirmed"


@pytest.mark.parametrize("language", ["ru", "en"])
def test_letters_speak_the_language_of_the_person(app: Flask, mailbox: Mailbox, language: str) -> None:
    api = ApiClient(app, language=language)
    ada = api.sign_up(ADA)
    api.ask_for_code(ada, 7505)
    letter = mailbox.letters_to(ADA)[0]
    assert letter.language == language
    assert letter.subject.startswith("7505")


def test_the_daily_cap_outlives_redis(
    api: ApiClient, forget_everything_in_redis: Callable[[], None], mailbox: Mailbox
) -> None:
    ada = api.sign_up(ADA)
    answers = []
    for _ in range(12):
        answers.append(api.ask_for_code(ada).status_code)
        forget_everything_in_redis()
    assert answers == [200] * 10 + [429] * 2
    refused = api.ask_for_code(ada)
    assert code_of(refused) == "too_many_codes"
    assert 80_000 < int(refused.headers["Retry-After"]) <= 86_400
    assert len(mailbox.deliver()) == 10


def test_cd10_refused_requests_use_up_nobodys_budget(app: Flask, make_app: Callable[..., Flask]) -> None:
    narrow = make_app(limit_codes_altogether="4/1h", limit_codes_per_network="4/1d")
    impatient, other = ApiClient(narrow), ApiClient(narrow, address="198.51.100.9")
    ada, grace = impatient.sign_up(ADA), impatient.sign_up("grace@example.org")

    statuses = [impatient.ask_for_code(ada, 7505).status_code for _ in range(12)]

    assert statuses == [200] * 3 + [429] * 9
    assert int(impatient.ask_for_code(ada, 7505).headers["Retry-After"]) <= 60
    assert other.ask_for_code(grace, 7505).status_code == 200


def test_a_planted_ticket_is_not_taken_over(production: Flask) -> None:
    api = ApiClient(production)
    ada = api.sign_up(ADA)
    planted = "A" * 43

    answer = api.call("POST", f"/{ada}/send_code", json={}, headers={"Cookie": f"__Host-registration={planted}"})

    assert answer.status_code == 200
    assert planted not in answer.headers["Set-Cookie"]


def test_a_code_for_one_user_leaves_the_ticket_of_another_alone(production: Flask) -> None:
    api = ApiClient(production)
    ada, grace = api.sign_up(ADA), api.sign_up("grace@example.org")
    first = api.ask_for_code(ada).headers["Set-Cookie"].partition(";")[0]

    second = api.ask_for_code(grace).headers["Set-Cookie"].partition(";")[0]

    assert first != second
    api.client = production.test_client(use_cookies=False)
    wrong = api.call("PUT", f"/{ada}/mail?code=0000", headers={"Cookie": first})
    assert code_of(wrong) == "code_wrong", "it is still open"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
def test_se5_a_form_on_a_page_of_another_origin_cannot_request_codes(api: ApiClient, content_type: str) -> None:
    ada = api.sign_up(ADA)

    answer = api.call("POST", f"/{ada}/send_code", data=b"", content_type=content_type)

    assert code_of(answer) == "content_type_unsupported"
    assert "Set-Cookie" not in answer.headers


def test_in3_a_query_string_where_none_belongs_is_refused(api: ApiClient) -> None:
    ada = api.sign_up(ADA)

    for method, path in (("POST", f"/{ada}/send_code?code=7505"), ("PATCH", f"/{ada}/sign_up?password=x")):
        assert code_of(api.call(method, path)) == "validation_failed"


def test_in3_a_refusal_does_not_repeat_everything_that_came(api: ApiClient) -> None:
    body = {f"{number}" * 40: 1 for number in range(100, 200)}

    answer = api.call("POST", "/sign_up", json=body)

    assert code_of(answer) == "validation_failed"
    assert len(answer.data) < 4000


def test_a_request_asks_the_database_as_seldom_as_it_can(api: ApiClient, mailbox: Mailbox) -> None:
    def register(email: str) -> list[int]:
        with counted() as waits:
            seen: list[int] = []
            api.look_up(email)
            seen.append(len(waits))
            user_id = api.sign_up(email)
            seen.append(len(waits))
            api.ask_for_code(user_id)
            seen.append(len(waits))
        code = mailbox.code_sent_to(email)
        with counted() as waits:
            api.confirm(user_id, code)
            api.finish(user_id)
            return [*seen, len(waits)]

    register("first@example.org")  # which also prepares the statements

    looked_up, signed_up, sent, finished = register(ADA)

    assert looked_up == 1
    assert signed_up - looked_up == 2, "the write and its COMMIT"
    assert sent - signed_up == 3
    assert finished == 1 + 3


def test_a_share_of_the_days_codes_is_left_for_other_networks(make_app: Callable[..., Flask]) -> None:
    app = make_app(limit_codes_per_network="2/1d")
    here, elsewhere = ApiClient(app), ApiClient(app, address="198.51.100.9")
    ada = here.sign_up(ADA)

    assert [here.ask_for_code(ada, 7505).status_code for _ in range(3)] == [200, 200, 429]
    assert elsewhere.ask_for_code(ada, 7505).status_code == 200


def test_the_language_of_a_person_can_change_on_the_way(app: Flask, mailbox: Mailbox) -> None:
    ada = ApiClient(app, language="en").sign_up(ADA)
    ApiClient(app, language="ru").ask_for_code(ada, 7505)
    ApiClient(app).ask_for_code(ada, 7506)

    assert {letter.language for letter in mailbox.letters_to(ADA)} == {"ru"}


def test_who_is_deleted_while_a_code_is_made_is_unknown(
    app: Flask, api: ApiClient, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = api.sign_up(ADA)

    def draw_after_the_user_is_deleted() -> str:
        query("DELETE FROM users")
        return "750505"

    services: Services = app.extensions["auth_service"]
    codes = replace(services.registration.codes, draw=draw_after_the_user_is_deleted)
    slow = replace(services, registration=replace(services.registration, codes=codes))
    monkeypatch.setitem(app.extensions, "auth_service", slow)

    answer = api.ask_for_code(ada)

    assert (answer.status_code, code_of(answer)) == (404, "user_unknown")
