"""Sign-in by an emailed code: with the flow ticket of its cookie (bound attempts) and without (unbound attempts)."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.races import at_once, outcome
from tests.support.stores import Query

ADA, PASSWORD = "ada@example.org", "correct horse battery"
REJECTED = (401, "credentials_rejected")


@pytest.fixture
def ada(api: ApiClient, mailbox: Mailbox) -> int:
    """Ada is registered, without a password."""
    return api.register(ADA, mailbox)


def test_a_user_signs_in_with_the_code_from_the_email(ada: int, api: ApiClient, mailbox: Mailbox) -> None:
    assert api.ask_to_sign_in(ADA).get_json() == {"success": True, "result": "Ok"}

    tokens = api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).get_json()["data"]

    assert api.with_token(tokens["access_token"], "GET", "/me").get_json()["data"]["id"] == ada
    [session] = api.with_token(tokens["access_token"], "GET", "/me/sessions").get_json()["data"]
    assert session["method"] == "code"
    assert api.refresh(tokens["refresh_token"]).status_code == 200


def test_sign_in_by_code_works_without_cookies(ada: int, app: Flask, mailbox: Mailbox) -> None:
    phone = ApiClient(app, cookies=False)
    phone.ask_to_sign_in(ADA)

    wrong = phone.sign_in_by_code(ADA, "12345")
    right = phone.sign_in_by_code(ADA, mailbox.code_sent_to(ADA))

    assert (outcome(wrong), right.status_code) == (REJECTED, 200)


def test_cd4_unbound_attempts_do_not_invalidate_the_code(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    api.ask_to_sign_in(ADA)
    code = mailbox.code_sent_to(ADA)
    attacker = ApiClient(app, address="198.51.100.9", cookies=False)

    for _ in range(8):
        assert outcome(attacker.sign_in_by_code(ADA, "12345")) == REJECTED

    # Once the unbound attempts are used up, even the right code is rejected without a flow ticket.
    assert outcome(attacker.sign_in_by_code(ADA, code)) == REJECTED
    assert api.sign_in_by_code(ADA, code).status_code == 200


def test_cd3_five_bound_attempts_invalidate_the_code_for_every_client(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    api.ask_to_sign_in(ADA)
    code = mailbox.code_sent_to(ADA)
    for _ in range(5):
        assert outcome(api.sign_in_by_code(ADA, "12345")) == REJECTED

    for client in (api, ApiClient(app, cookies=False), ApiClient(app)):
        assert outcome(client.sign_in_by_code(ADA, code)) == REJECTED
    api.ask_to_sign_in(ADA)
    assert api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).status_code == 200


def test_cd4_a_code_request_of_another_client_keeps_the_first_code_valid(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    api.ask_to_sign_in(ADA)
    code = mailbox.code_sent_to(ADA)
    ApiClient(app, address="198.51.100.9").ask_to_sign_in(ADA)

    assert api.sign_in_by_code(ADA, code).status_code == 200


def test_cd4_a_planted_flow_ticket_is_replaced(ada: int, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    eve = ApiClient(app, address="198.51.100.9")
    eve.ask_to_sign_in("eve@example.org")
    planted = eve.client.get_cookie("sign-in")
    assert planted is not None
    api.client.set_cookie("sign-in", planted.value)

    api.ask_to_sign_in(ADA)

    ticket = api.client.get_cookie("sign-in")
    assert ticket is not None
    assert ticket.value != planted.value
    assert api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).status_code == 200


def emailed_code(app: Flask, mailbox: Mailbox, *, cookies: bool) -> tuple[str, Callable[[str], TestResponse]]:
    """The code emailed to Ada, and a function that sends a code with its flow ticket or without cookies."""
    holder = ApiClient(app, cookies=cookies)
    holder.ask_to_sign_in(ADA)
    ticket = holder.client.get_cookie("sign-in") if cookies else None

    def send(code: str) -> TestResponse:
        client = ApiClient(app, cookies=cookies)  # one client per call, because calls are concurrent
        if ticket:
            client.client.set_cookie("sign-in", ticket.value)
        return client.sign_in_by_code(ADA, code)

    return mailbox.code_sent_to(ADA), send


@pytest.mark.parametrize("cookies", [True, False])
def test_cd3_the_right_code_is_rejected_after_a_hundred_concurrent_wrong_ones(
    crowded: Flask, app: Flask, api: ApiClient, mailbox: Mailbox, query: Query, cookies: bool
) -> None:
    api.register(ADA, mailbox)
    code, send = emailed_code(crowded, mailbox, cookies=cookies)

    answers = at_once(100, lambda: send("12345"))

    # On a busy machine a request may find no free connection and is rejected before its code is checked.
    assert {outcome(answer) for answer in answers} <= {REJECTED, (503, "service_busy")}
    # After five failed attempts even the right code is rejected.
    assert outcome(send(code)) == REJECTED
    assert query("SELECT count(*) FROM sessions") == [(0,)]


@pytest.mark.parametrize("wrong_before", [4, 5])
def test_cd3_the_right_code_is_accepted_at_the_fifth_attempt_and_rejected_at_the_sixth(
    ada: int, api: ApiClient, mailbox: Mailbox, wrong_before: int
) -> None:
    api.ask_to_sign_in(ADA)
    for _ in range(wrong_before):
        api.sign_in_by_code(ADA, "12345")

    right = api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA))

    assert right.status_code == (200 if wrong_before == 4 else 401)


@pytest.mark.parametrize("cookies", [True, False])
def test_cd2_of_fifty_concurrent_right_codes_one_succeeds(
    crowded: Flask, api: ApiClient, mailbox: Mailbox, query: Query, cookies: bool
) -> None:
    api.register(ADA, mailbox)
    code, send = emailed_code(crowded, mailbox, cookies=cookies)

    answers = at_once(50, lambda: send(code))

    assert Counter(map(outcome, answers)) == {(200, ""): 1, REJECTED: 49}
    assert query("SELECT count(*) FROM sessions") == [(1,)]


def test_en1_an_unknown_address_gets_the_same_response(ada: int, app: Flask, mailbox: Mailbox, query: Query) -> None:
    ApiClient(app).sign_up("temporary@example.org")
    sent, rejected = [], []
    for email in (ADA, "unknown@example.org", "temporary@example.org"):
        client = ApiClient(app)
        sent.append(client.ask_to_sign_in(email))
        rejected.append(client.sign_in_by_code(email, "12345"))

    for answers, status in ((sent, 200), (rejected, 401)):
        assert {answer.status_code for answer in answers} == {status}
        assert {answer.text for answer in answers} == {answers[0].text}
        assert len({_shape(answer) for answer in answers}) == 1
    assert all("sign-in=" in answer.headers["Set-Cookie"] for answer in sent)
    assert [email for (email,) in query("SELECT recipient FROM letters WHERE kind = 'sign_in_code'")] == [ADA]


def _shape(answer: TestResponse) -> tuple[Any, ...]:
    """The header names, and the cookies without their random values and the time of day."""
    cookies = [
        (name, len(value), *(part for part in rest if not part.startswith("Expires")))
        for name, value, *rest in (
            (cookie.partition("=")[0], *cookie.partition("=")[2].split("; "))
            for cookie in answer.headers.getlist("Set-Cookie")
        )
    ]
    return tuple(sorted(name for name, _ in answer.headers)), tuple(cookies)


def test_en3_unknown_addresses_have_the_same_limits(ada: int, app: Flask) -> None:
    answers = {}
    for email in (ADA, "unknown@example.org"):
        client = ApiClient(app)
        answers[email] = [client.ask_to_sign_in(email).status_code for _ in range(5)]

    assert answers[ADA] == answers["unknown@example.org"] == [200, 200, 200, 429, 429]


def test_cd2_a_code_is_invalid_after_use(ada: int, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    api.ask_to_sign_in(ADA)
    code = mailbox.code_sent_to(ADA)
    assert api.sign_in_by_code(ADA, code).status_code == 200

    for client in (api, ApiClient(app, cookies=False)):
        assert outcome(client.sign_in_by_code(ADA, code)) == REJECTED


@pytest.mark.parametrize("cookies", [True, False])
def test_a_code_is_invalid_after_a_newer_one(ada: int, app: Flask, mailbox: Mailbox, cookies: bool) -> None:
    client = ApiClient(app, cookies=cookies)
    client.ask_to_sign_in(ADA)
    older = mailbox.code_sent_to(ADA)
    client.ask_to_sign_in(ADA)
    newer = mailbox.code_sent_to(ADA)

    assert outcome(client.sign_in_by_code(ADA, older)) == REJECTED or older == newer
    assert client.sign_in_by_code(ADA, newer).status_code == 200


def test_cd4_a_code_is_invalid_after_a_password_change(api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    api.register(ADA, mailbox, password=PASSWORD)
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    api.ask_to_sign_in(ADA)
    code = mailbox.code_sent_to(ADA)
    api.change_password(token, PASSWORD, "analytical engines hum")

    for client in (api, ApiClient(app, cookies=False)):
        assert outcome(client.sign_in_by_code(ADA, code)) == REJECTED


def test_cd4_a_code_is_bound_to_its_address_and_purpose(ada: int, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    ApiClient(app).register("grace@example.org", mailbox)
    api.ask_to_sign_in(ADA)
    code = mailbox.code_sent_to(ADA)

    assert outcome(api.sign_in_by_code("grace@example.org", code)) == REJECTED
    assert refusal(api.recover(ADA, code, PASSWORD))["code"] == "code_expired"
    assert api.sign_in_by_code("ADA@example.org", code).status_code == 200, (
        "addresses are compared without regard to case"
    )


def test_e10_a_new_code_works_after_a_flush_of_redis(
    ada: int, api: ApiClient, mailbox: Mailbox, forget_everything_in_redis: Callable[[], None]
) -> None:
    api.ask_to_sign_in(ADA)
    code = mailbox.code_sent_to(ADA)
    forget_everything_in_redis()

    assert outcome(api.sign_in_by_code(ADA, code)) == REJECTED
    api.ask_to_sign_in(ADA)
    assert api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).status_code == 200


def test_lg2_rejected_sign_ins_are_recorded(ada: int, api: ApiClient, query: Query) -> None:
    api.ask_to_sign_in(ADA)
    api.sign_in_by_code(ADA, "12345")
    api.sign_in_by_code("unknown@example.org", "12345")

    events = query("SELECT user_id, outcome, details->>'method' FROM events WHERE kind = 'sign_in_refused' ORDER BY id")
    assert events == [(ada, "failure", "code"), (None, "failure", "code")]
