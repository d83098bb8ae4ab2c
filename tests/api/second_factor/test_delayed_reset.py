"""Delayed reset of second factors: requested with an emailed code, announced by emails, effective at its time."""

from datetime import datetime, timedelta

import pytest

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import Administration
from tests.support.application import MakeApp
from tests.support.delayed_reset import RESET, Owner, cancel_token, run_due
from tests.support.passkeys import PasskeyUser
from tests.support.races import at_once
from tests.support.second_factor import ProtectedUser

WEEK, MINUTE = timedelta(days=7), timedelta(minutes=1)
CSRF = {"X-Requested-With": "fetch", "Origin": "http://127.0.0.1:5000"}
EVENTS = "SELECT kind, actor_type FROM events WHERE kind LIKE 'second_factor.reset%%' ORDER BY id"


def test_sf11_who_lost_all_factors_signs_in_without_them_after_a_week_and_three_emails(owner: Owner) -> None:
    [(now,)] = owner.query("SELECT now()")

    effective_at = owner.request()

    assert abs(effective_at - now - WEEK) < MINUTE
    [asked] = owner.emails("will be reset")
    assert f"On {effective_at:%Y-%m-%d %H:%M} UTC" in asked.text
    status = owner.user.call("GET", "/me/second_factor").get_json()["data"]
    assert datetime.fromisoformat(status["reset_due_at"]) == effective_at
    owner.pass_time(days=3.4)
    assert owner.emails("Reminder") == []
    owner.pass_time(days=0.2)
    [near] = owner.emails("Reminder")
    assert cancel_token(near) == cancel_token(asked)
    owner.pass_time(days=3.3)
    assert owner.has_factors(), "not before its time"
    assert refusal(owner.user.first_step())["code"] == "second_factor_required"

    owner.pass_time(days=0.2)

    assert not owner.has_factors()
    assert not owner.user.api.is_signed_in(owner.user.access_token)
    assert owner.user.first_step().status_code == 200
    [done] = owner.emails("was reset")
    assert "as requested" in done.text
    assert owner.query(EVENTS) == [("second_factor.reset_asked", None), ("second_factor.reset", "system")]
    assert owner.query("SELECT count(*) FROM second_factor_resets") == [(0,)]


def test_sf11_the_link_of_the_last_email_ends_what_an_attacker_has_begun(owner: Owner) -> None:
    owner.request()
    owner.pass_all_time()
    attacker = ApiClient(owner.app, address="198.51.100.9").signed_in(ADA, PASSWORD)["access_token"]

    assert owner.user.api.undo(owner.mailbox.undo_sent_to(ADA, about="was reset")).status_code == 200

    assert not owner.user.api.is_signed_in(attacker)
    assert refusal(owner.user.api.sign_in(ADA, PASSWORD))["code"] == "credentials_rejected"


def test_sf11_all_three_emails_are_in_the_language_of_the_user(owner: Owner) -> None:
    owner.query("UPDATE users SET language = 'ru' RETURNING 1")

    owner.request()
    owner.pass_all_time()

    subjects = [email.subject for email in owner.emails("")][:4]
    assert subjects[:3] == [
        "Второй шаг входа в «Portal» сброшен",
        "Напоминание: второй шаг входа в «Portal» будет сброшен",
        "Второй шаг входа в «Portal» будет сброшен",
    ]
    assert "ваш код для сброса второго шага" in subjects[3]


def test_sf11_the_first_factor_alone_requests_nothing(owner: Owner) -> None:
    sent = owner.send()

    assert (sent.status_code, set(sent.get_json()["data"])) == (200, {"expires_in", "resend_after"})
    code = owner.mailbox.code_sent_to(ADA)
    wrong = owner.send(code="1" * 6 if code != "1" * 6 else "2" * 6)
    assert (wrong.status_code, refusal(wrong)["code"], refusal(wrong)["attempts_left"]) == (404, "code_wrong", 4)
    assert not owner.is_pending()
    assert owner.query("SELECT details->>'purpose' FROM events WHERE kind = 'code_refused'") == [
        ("second_factor_reset",)
    ]
    assert owner.send(code=code).status_code == 200
    again = owner.send(code=code)
    assert (again.status_code, refusal(again)["code"]) == (404, "code_expired")


def test_sf11_new_tickets_grant_no_further_attempts_at_the_code(owner: Owner) -> None:
    code = owner.code()
    for _ in range(5):
        owner.send(code="1" * 6 if code != "1" * 6 else "2" * 6)

    answer = owner.send(code=code)

    assert (answer.status_code, refusal(answer)["code"]) == (404, "code_expired")


def test_sf11_a_repeated_request_keeps_the_time_and_sends_no_further_announcement(owner: Owner) -> None:
    first = owner.request()
    owner.query("UPDATE second_factor_resets SET effective_at = effective_at - interval '1 hour' RETURNING 1")

    assert owner.request() == first - timedelta(hours=1)

    assert len(owner.emails("will be reset")) == 1
    assert owner.query(EVENTS) == [("second_factor.reset_asked", None)]


def test_sf11_after_an_outage_of_the_mail_worker_the_user_is_warned_in_time(owner: Owner) -> None:
    owner.request()

    owner.pass_time(days=30)

    assert owner.has_factors()
    assert len(owner.emails("Reminder")) == 1
    [(left,)] = owner.query("SELECT effective_at - now() FROM second_factor_resets")
    assert abs(left - WEEK / 4) < MINUTE


def test_sf11_of_concurrent_mail_workers_one_resets_the_factors(owner: Owner) -> None:
    owner.request()
    for days, about in ((4, "Reminder"), (4, "was reset")):
        owner.query(
            "UPDATE second_factor_resets SET next_at = next_at - %s, effective_at = effective_at - %s RETURNING 1",
            *[timedelta(days=days)] * 2,
        )

        at_once(4, lambda: run_due(owner.app))

        assert len(owner.emails(about)) == 1
    assert not owner.has_factors()


@pytest.mark.parametrize("at", ["request", "effect"])
def test_sf11_a_role_that_requires_a_second_factor_excludes_the_reset(
    owner: Owner, make_app: MakeApp, mailbox: Mailbox, at: str
) -> None:
    app = make_app(second_factor_roles="ROLE_EDITOR")
    admin = Administration(owner.app, mailbox).administrator()
    admin.data("POST", "/roles", json={"name": "ROLE_EDITOR", "description": "Edits.", "permissions": []}, status=201)
    user = ProtectedUser(api=ApiClient(app), email=ADA, app=owner.user.app, query=owner.query)
    strict = Owner(user, owner.mailbox, owner.query, app)
    if at == "effect":
        strict.request()
    owner.query(
        "INSERT INTO user_roles (user_id, role) SELECT id, 'ROLE_EDITOR' FROM users WHERE email = %s RETURNING 1", ADA
    )

    for body in ({}, {"code": "123456"}):
        answer = strict.send(**body)
        assert (answer.status_code, refusal(answer)["code"]) == (403, "second_factor_reset_unavailable")
    strict.pass_all_time()
    assert strict.has_factors()


def test_sf11_zero_seconds_switch_the_reset_off_also_a_requested_one(owner: Owner, make_app: MakeApp) -> None:
    owner.request()
    app = make_app(second_factor_reset_seconds=0)
    user = ProtectedUser(api=ApiClient(app), email=ADA, app=owner.user.app)
    off = Owner(user, owner.mailbox, owner.query, app)

    answer = off.send()

    assert (answer.status_code, refusal(answer)["code"]) == (403, "second_factor_reset_unavailable")
    off.pass_all_time()
    assert off.has_factors()


def test_sf11_the_codes_of_an_address_are_limited_and_the_error_says_so(owner: Owner, make_app: MakeApp) -> None:
    limited = ApiClient(make_app(limit_codes_a_day=2, limit_codes_reserved=0))  # the registration got the first one
    statuses = [limited.call("POST", RESET, json={"ticket": owner.user.ticket()}).status_code for _ in range(2)]

    assert statuses == [200, 429]


def test_sf11_the_ticket_may_be_in_the_cookie_and_then_needs_the_csrf_header(owner: Owner) -> None:
    browser = ApiClient(owner.app)
    first = {"email": ADA, "password": PASSWORD, "transport": "cookie"}
    browser.call("POST", "/sign_in", json=first, headers=CSRF)

    assert refusal(browser.call("POST", RESET, json={}))["code"] == "cross_site"
    assert browser.call("POST", RESET, json={}, headers=CSRF).status_code == 200


def test_sf11_a_ticket_is_needed(api: ApiClient, ada: int) -> None:
    for body in ({}, {"ticket": "A"}, {"ticket": "A", "code": "123456"}):
        answer = api.call("POST", RESET, json=body)
        assert (answer.status_code, refusal(answer)["code"]) == (401, "second_step_expired")


@pytest.mark.parametrize("keeps_passkey", [False, True])
def test_sf11_a_sign_in_that_needs_no_second_step_any_more_is_begun_again(owner: Owner, keeps_passkey: bool) -> None:
    if keeps_passkey:
        PasskeyUser(owner.user.api, owner.user.access_token).register()
    ticket = owner.user.ticket()
    owner.query("DELETE FROM second_factors RETURNING 1")

    answer = owner.user.api.call("POST", RESET, json={"ticket": ticket})

    assert (answer.status_code, refusal(answer)["code"]) == (401, "second_step_expired")
    assert owner.user.first_step().status_code == 200
