"""Second step of the sign-in: ticket, transports, methods, replay, order of the stages."""

import pytest
from flask import Flask
from prometheus_client import REGISTRY

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.second_factor import STEP, ProtectedUser
from tests.support.stores import Query

CSRF = {"X-Requested-With": "fetch", "Origin": "http://127.0.0.1:5000"}


def test_sf6_the_first_step_issues_a_ticket_and_nothing_else(protected: ProtectedUser) -> None:
    answer = protected.first_step()

    error = refusal(answer)
    assert (answer.status_code, error["code"], error["expires_in"]) == (401, "second_factor_required", 300)
    assert error["methods"] == ["totp", "recovery_code"]
    assert "Set-Cookie" not in answer.headers
    assert "WWW-Authenticate" in answer.headers


def test_sf6_in_the_cookie_transport_the_only_cookie_is_the_ticket(app: Flask, protected: ProtectedUser) -> None:
    browser = ApiClient(app)
    first = browser.call(
        "POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=CSRF
    )
    [cookie] = first.headers.getlist("Set-Cookie")
    assert cookie.startswith("second-step=")
    assert "HttpOnly" in cookie
    assert "ticket" not in refusal(first)

    second = browser.call("POST", STEP, json={"totp": protected.unused_code()}, headers=CSRF)

    assert second.status_code == 200, second.text
    assert "access_token" not in second.get_json()["data"]
    names = {cookie.partition("=")[0] for cookie in second.headers.getlist("Set-Cookie")}
    assert names == {"access", "refresh", "device", "second-step"}
    assert browser.call("GET", "/me").get_json()["data"]["acr"] == "aal2"
    again = browser.call("POST", STEP, json={"totp": protected.unused_code()}, headers=CSRF)
    assert (again.status_code, refusal(again)["code"]) == (401, "second_step_expired")


def test_sf6_a_ticket_in_a_cookie_needs_the_csrf_header(app: Flask, protected: ProtectedUser) -> None:
    browser = ApiClient(app)
    browser.call("POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=CSRF)

    answer = browser.call("POST", STEP, json={"totp": protected.unused_code(), "transport": "bearer"})

    assert (answer.status_code, refusal(answer)["code"]) == (403, "cross_site")


@pytest.mark.parametrize("method", ["password", "code"])
def test_sf7_every_first_factor_asks_for_the_second_step(
    api: ApiClient, protected: ProtectedUser, mailbox: Mailbox, method: str
) -> None:
    if method == "password":
        ticket = protected.ticket()
    else:
        api.ask_to_sign_in(ADA)
        answer = api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA))
        assert refusal(answer)["code"] == "second_factor_required"
        ticket = refusal(answer)["ticket"]

    tokens = protected.second_step(ticket, totp=protected.unused_code()).get_json()["data"]

    me = api.with_token(tokens["access_token"], "GET", "/me").get_json()["data"]
    assert (me["acr"], me["amr"]) == ("aal2", [{"password": "pwd", "code": "email"}[method], "otp", "mfa"])


def test_sf3_a_code_and_a_ticket_work_once(protected: ProtectedUser) -> None:
    first, second = protected.ticket(), protected.ticket()
    code = protected.unused_code()

    assert protected.second_step(first, totp=code).status_code == 200
    replayed = protected.second_step(second, totp=code)
    assert refusal(replayed)["code"] == "second_factor_rejected"
    used = protected.second_step(first, totp=protected.unused_code())
    assert refusal(used)["code"] == "second_step_expired"


def test_sf4_an_older_step_after_a_newer_one_is_refused(protected: ProtectedUser) -> None:
    protected.unused_code()

    assert protected.second_step(protected.ticket(), totp=protected.code(1)).status_code == 200
    for step in (1, 0, -1):
        assert protected.second_step(protected.ticket(), totp=protected.code(step)).status_code == 401


@pytest.mark.parametrize(("step", "status"), [(-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401)])
def test_sf2_the_current_step_and_its_neighbours_are_accepted(protected: ProtectedUser, step: int, status: int) -> None:
    protected.unused_code()

    assert protected.second_step(protected.ticket(), totp=protected.code(step)).status_code == status


def test_a_wrong_code_says_how_many_attempts_are_left(protected: ProtectedUser) -> None:
    ticket = protected.ticket()

    left = [refusal(protected.second_step(ticket, totp=protected.wrong_code()))["attempts_left"] for _ in range(2)]

    assert left == [4, 3]
    assert protected.second_step(ticket, totp=protected.unused_code()).status_code == 200
    assert refusal(protected.second_step(protected.ticket(), totp=protected.wrong_code()))["attempts_left"] == 4


def test_sf6_a_correct_first_factor_without_a_second_factor_needs_no_second_step(ada: int, api: ApiClient) -> None:
    answer = api.sign_in(ADA, PASSWORD)

    assert answer.status_code == 200
    assert api.sign_in(ADA, "a wrong password").get_json()["error"]["code"] == "credentials_rejected"


def test_the_method_used_last_is_offered_first(protected: ProtectedUser, query: Query) -> None:
    protected.second_step(protected.ticket(), recovery_code=protected.recovery_codes[0])

    assert refusal(protected.first_step())["methods"] == ["recovery_code", "totp"]


def test_lg1_two_steps_of_a_sign_in_log_no_secret(
    protected: ProtectedUser, caplog: pytest.LogCaptureFixture, query: Query
) -> None:
    ticket, code = protected.ticket(), protected.unused_code()
    protected.second_step(ticket, totp=protected.wrong_code())
    protected.second_step(ticket, totp=code)
    protected.second_step(protected.ticket(), recovery_code=protected.recovery_codes[0])

    assert "answered" in caplog.text
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    for secret in (ticket, code, protected.app.secret, protected.recovery_codes[0], ADA):
        assert secret not in logged
    [(details,)] = query("SELECT string_agg(details::text, '') FROM events")
    assert not any(secret in details for secret in (ticket, code, protected.app.secret, protected.recovery_codes[0]))


def test_second_steps_are_counted_by_method_and_outcome(protected: ProtectedUser) -> None:
    def count(method: str, outcome: str) -> float:
        return REGISTRY.get_sample_value("auth_second_steps_total", {"method": method, "outcome": outcome}) or 0.0

    series = [("totp", "accepted"), ("totp", "rejected"), ("recovery_code", "accepted"), ("totp", "expired")]
    before = [count(*each) for each in series]

    ticket = protected.ticket()
    protected.second_step(ticket, totp=protected.wrong_code())
    protected.second_step(ticket, totp=protected.unused_code())
    protected.second_step(protected.ticket(), recovery_code=protected.recovery_codes[0])
    protected.second_step("A", totp="123456")

    assert [count(*each) for each in series] == [number + 1 for number in before]


@pytest.mark.parametrize("age", [0, 1])
def test_sf3_a_used_code_is_refused_in_its_whole_time_window(protected: ProtectedUser, age: int) -> None:
    """Also the code of the step before: what a user sees who typed it 30 or 60 seconds ago."""
    protected.unused_code()
    code = protected.code(-age)

    assert protected.second_step(protected.ticket(), totp=code).status_code == 200
    assert protected.second_step(protected.ticket(), totp=code).status_code == 401
