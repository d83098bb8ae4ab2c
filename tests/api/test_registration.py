"""Registration: sign-up, emailed code, confirmation of the address, first password, and the limits of each step."""

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
    """The `error.code` of an error response."""
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


def test_cd3_five_failed_attempts_invalidate_the_code(api: ApiClient) -> None:
    ada = api.sign_up(ADA)
    api.ask_for_code(ada, 7505)

    left = [refusal(api.confirm(ada, "1111"))["attempts_left"] for _ in range(5)]

    assert left == [4, 3, 2, 1, 0]
    assert code_of(api.confirm(ada, 7505)) == "code_expired"


def test_cd3_a_new_code_does_not_reset_the_failed_attempts(api: ApiClient) -> None:
    ada = api.sign_up(ADA)
    api.ask_for_code(ada, 7505)
    for _ in range(3):
        api.confirm(ada, "1111")

    api.ask_again(ada, 7506)

    assert refusal(api.confirm(ada, "1111"))["attempts_left"] == 1


def test_a_new_code_after_an_invalidated_one_can_be_confirmed(api: ApiClient) -> None:
    ada = api.sign_up(ADA)
    api.ask_for_code(ada, 7505)
    for _ in range(5):
        api.confirm(ada, "1111")

    api.ask_again(ada, 7506)

    assert api.confirm(ada, 7506).status_code == 200


def test_cd1_production_ignores_client_supplied_codes_and_emails_its_own(
    production: Flask, mailbox_of_production: Mailbox
) -> None:
    api = ApiClient(production)
    ada = api.sign_up(ADA)
    assert api.ask_for_code(ada, 7505).status_code == 200

    assert code_of(api.confirm(ada, 7505)) == "code_wrong"
    code = mailbox_of_production.code_sent_to(ADA)
    assert len(code) == 6
    assert api.confirm(ada, code).status_code == 200
    assert api.finish(ada).get_json()["data"]["roles"] == ["ROLE_PORTAL_USER"]


def test_cd4_an_attacker_without_the_flow_ticket_cannot_confirm_or_finish(
    production: Flask, mailbox_of_production: Mailbox
) -> None:
    owner, attacker = ApiClient(production), ApiClient(production, address="198.51.100.9")
    ada = owner.sign_up(ADA)
    owner.ask_for_code(ada)
    code = mailbox_of_production.code_sent_to(ADA)

    assert code_of(attacker.confirm(ada, code)) == "code_expired"
    for _ in range(7):
        attacker.confirm(ada, "000000")
    assert owner.confirm(ada, code).status_code == 200
    assert code_of(attacker.finish(ada, password="the attacker's choice")) == "mail_not_confirmed"
    assert owner.finish(ada).status_code == 200
    assert code_of(attacker.finish(ada)) == "mail_not_confirmed"


def test_cd9_finishing_invalidates_every_other_flow_ticket(production: Flask, mailbox_of_production: Mailbox) -> None:
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


def test_cd7_finishing_requires_a_confirmed_address(api: ApiClient) -> None:
    ada = api.sign_up(ADA)
    assert code_of(api.finish(ada)) == "mail_not_confirmed"
    api.ask_for_code(ada, 7505)
    assert code_of(api.finish(ada)) == "mail_not_confirmed"


def test_finishing_is_idempotent_after_a_lost_response(api: ApiClient, mailbox: Mailbox) -> None:
    ada = api.register(ADA, mailbox, password="correct horse battery")

    again = api.finish(ada, password="correct horse battery")
    other = api.finish(ada, password="another horse battery")

    assert again.status_code == 200
    assert code_of(other) == "password_already_set"


@pytest.mark.parametrize("password", [None, "another horse battery"])
def test_cd4_a_registration_ticket_is_invalid_after_a_password_change(
    api: ApiClient, mailbox: Mailbox, password: str | None
) -> None:
    ada = api.register(ADA, mailbox, password="correct horse battery")
    token = api.signed_in(ADA, "correct horse battery")["access_token"]
    assert api.finish(ada).status_code == 200
    assert api.change_password(token, "correct horse battery", "another horse battery").status_code == 200

    assert code_of(api.finish(ada, password=password)) == "mail_not_confirmed"


@pytest.mark.parametrize("language", ["ru", "en"])
def test_emails_use_the_language_of_the_user(app: Flask, mailbox: Mailbox, language: str) -> None:
    api = ApiClient(app, language=language)
    ada = api.sign_up(ADA)
    api.ask_for_code(ada, 7505)
    message = mailbox.letters_to(ADA)[0]
    assert message.language == language
    assert message.subject.startswith("7505")


def test_the_daily_limit_of_codes_survives_a_flush_of_redis(
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


def test_cd10_rejected_requests_do_not_count_against_the_global_limit(
    app: Flask, make_app: Callable[..., Flask]
) -> None:
    narrow = make_app(limit_codes_altogether="4/1h")
    impatient, other = ApiClient(narrow), ApiClient(narrow, address="198.51.100.9")
    ada, grace = impatient.sign_up(ADA), impatient.sign_up("grace@example.org")

    statuses = [impatient.ask_for_code(ada, 7505).status_code for _ in range(12)]

    assert statuses == [200] * 3 + [429] * 9
    assert 3500 < int(impatient.ask_for_code(ada, 7505).headers["Retry-After"]) <= 3600
    assert other.ask_for_code(grace, 7505).status_code == 200


def test_a_planted_flow_ticket_is_replaced(production: Flask) -> None:
    api = ApiClient(production)
    ada = api.sign_up(ADA)
    planted = "A" * 43

    answer = api.call("POST", f"/{ada}/send_code", json={}, headers={"Cookie": f"__Host-registration={planted}"})

    assert answer.status_code == 200
    assert planted not in answer.headers["Set-Cookie"]


def test_a_code_for_one_user_keeps_the_flow_ticket_of_another_valid(production: Flask) -> None:
    api = ApiClient(production)
    ada, grace = api.sign_up(ADA), api.sign_up("grace@example.org")
    first = api.ask_for_code(ada).headers["Set-Cookie"].partition(";")[0]

    second = api.ask_for_code(grace).headers["Set-Cookie"].partition(";")[0]

    assert first != second
    api.client = production.test_client(use_cookies=False)
    wrong = api.call("PUT", f"/{ada}/mail?code=0000", headers={"Cookie": first})
    assert code_of(wrong) == "code_wrong", "the ticket is still valid"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
def test_se5_a_form_on_a_page_of_another_origin_cannot_request_codes(api: ApiClient, content_type: str) -> None:
    ada = api.sign_up(ADA)

    answer = api.call("POST", f"/{ada}/send_code", data=b"", content_type=content_type)

    assert code_of(answer) == "content_type_unsupported"
    assert "Set-Cookie" not in answer.headers


def test_in3_an_unexpected_query_string_is_rejected(api: ApiClient) -> None:
    ada = api.sign_up(ADA)

    for method, path in (("POST", f"/{ada}/send_code?code=7505"), ("PATCH", f"/{ada}/sign_up?password=x")):
        assert code_of(api.call(method, path)) == "validation_failed"


def test_in3_a_validation_error_does_not_echo_the_whole_request(api: ApiClient) -> None:
    body = {f"{number}" * 40: 1 for number in range(100, 200)}

    answer = api.call("POST", "/sign_up", json=body)

    assert code_of(answer) == "validation_failed"
    assert len(answer.data) < 4000


def test_each_registration_step_needs_few_database_round_trips(api: ApiClient, mailbox: Mailbox) -> None:
    def register(email: str) -> list[int]:
        with counted() as waits:
            totals: list[int] = []
            api.look_up(email)
            totals.append(len(waits))
            user_id = api.sign_up(email)
            totals.append(len(waits))
            api.ask_for_code(user_id)
            totals.append(len(waits))
        code = mailbox.code_sent_to(email)
        with counted() as waits:
            api.confirm(user_id, code)
            api.finish(user_id)
            return [*totals, len(waits)]

    register("first@example.org")  # this also prepares the statements

    looked_up, signed_up, sent, finished = register(ADA)

    assert looked_up == 1
    assert signed_up - looked_up == 2, "the write and its COMMIT"
    assert sent - signed_up == 3
    assert finished == 2 + 3, "the confirmation withdraws the email of its code, if that still waits"


def test_one_network_cannot_use_up_the_daily_codes_of_a_user(make_app: Callable[..., Flask]) -> None:
    app = make_app(limit_codes_per_network="2/1d")
    here, elsewhere = ApiClient(app), ApiClient(app, address="198.51.100.9")
    ada = here.sign_up(ADA)

    assert [here.ask_for_code(ada, 7505).status_code for _ in range(3)] == [200, 200, 429]
    assert elsewhere.ask_for_code(ada, 7505).status_code == 200


def test_emails_use_the_language_that_the_user_requested_last(app: Flask, mailbox: Mailbox) -> None:
    ada = ApiClient(app, language="en").sign_up(ADA)
    ApiClient(app, language="ru").ask_for_code(ada, 7505)
    ApiClient(app).ask_for_code(ada, 7506)

    assert {message.language for message in mailbox.letters_to(ADA)} == {"ru"}


def test_a_user_deleted_while_a_code_is_generated_is_unknown(
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
