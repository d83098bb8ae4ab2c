"""Password change: requires the current password, revokes all other sessions, sends a security notification."""

from collections.abc import Callable
from typing import Any

import pytest
import zxcvbn
from flask import Flask

from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.crowds import OvertakenAfterTheCheck, occupied
from tests.support.rewiring import rewired
from tests.support.stores import Query

ADA, OLD, NEW = "ada@example.org", "correct horse battery", "analytical engines hum"


@pytest.fixture
def token(api: ApiClient, mailbox: Mailbox) -> str:
    """Ada is registered and signed in."""
    api.register(ADA, mailbox, password=OLD)
    return str(api.signed_in(ADA, OLD)["access_token"])


def test_pw9_a_password_change_revokes_all_other_sessions_and_keeps_the_current_one(
    token: str, api: ApiClient, app: Flask, query: Query
) -> None:
    phone = ApiClient(app)
    other = phone.signed_in(ADA, OLD)

    assert api.change_password(token, OLD, NEW).get_json() == {"success": True, "result": "Ok"}

    assert api.is_signed_in(token)
    assert not phone.is_signed_in(other["access_token"])
    assert refusal(phone.refresh(other["refresh_token"]))["code"] == "refresh_rejected"
    assert api.sign_in(ADA, OLD).status_code == 401
    assert api.sign_in(ADA, NEW).status_code == 200
    assert query("SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL") == [("password_changed",)]
    assert query("SELECT count(*) FROM events WHERE kind = 'password_changed'") == [(1,)]


def test_pw9_a_password_change_requires_a_session_and_the_current_password(
    token: str, api: ApiClient, query: Query
) -> None:
    body = {"current_password": OLD, "new_password": NEW}
    assert refusal(api.call("PUT", "/me/password", json=body))["code"] == "token_missing"

    wrong = api.change_password(token, "a wrong password", NEW)

    assert (wrong.status_code, refusal(wrong)["code"]) == (403, "password_wrong")
    assert api.sign_in(ADA, OLD).status_code == 200, "nothing was changed"
    # The failed attempt is recorded although the request is rejected.
    assert query("SELECT outcome, details FROM events WHERE kind = 'password_refused'") == [
        ("failure", {"purpose": "password_change"})
    ]


def test_pw12_a_password_that_could_not_be_verified_counts_no_failed_attempt(
    token: str, api: ApiClient, services: Services
) -> None:
    with occupied(services.account.reauthentication.passwords.hasher):
        codes = [refusal(api.change_password(token, OLD, NEW))["code"] for _ in range(8)]

    assert codes == ["service_busy"] * 8
    assert api.change_password(token, OLD, NEW).status_code == 200


def test_pw12_a_password_change_that_loses_the_race_for_hashing_capacity_counts_no_failed_attempt(
    token: str, api: ApiClient, app: Flask, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher, codes = OvertakenAfterTheCheck(), []
    with monkeypatch.context() as meanwhile:
        overtaken = rewired(services, services.account.reauthentication.passwords.hasher, by=hasher)
        meanwhile.setitem(app.extensions, "auth_service", overtaken)
        for _ in range(8):
            codes.append(refusal(api.change_password(token, OLD, NEW))["code"])
            hasher.free()

    assert codes == ["service_busy"] * 8
    assert hasher.times == 8
    assert api.change_password(token, OLD, NEW).status_code == 200


def test_the_strength_of_a_new_password_is_estimated_once(
    token: str, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strength estimate takes milliseconds of processor time, tens of them for a long password."""
    estimated: list[str] = []
    match = zxcvbn.matching.omnimatch

    def recording_match(password: str, *dictionaries: Any) -> Any:
        estimated.append(password)
        return match(password, *dictionaries)

    monkeypatch.setattr(zxcvbn.matching, "omnimatch", recording_match)

    assert api.change_password(token, OLD, NEW).status_code == 200

    assert estimated == [NEW]


def test_pw12_password_attempts_with_a_stolen_token_are_throttled(
    token: str, api: ApiClient, app: Flask, lasting_pauses: Callable[[], None]
) -> None:
    thief = ApiClient(app, address="198.51.100.9")
    codes = [refusal(thief.change_password(token, f"wrong guess {n}", NEW))["code"] for n in range(5)]
    lasting_pauses()
    # Other endpoints that check the password share the throttling, and the right password does not lift it.
    codes.append(refusal(thief.leave(token, password="wrong guess"))["code"])
    codes.append(refusal(thief.ask_to_move(token, "thief@example.org", password="wrong guess"))["code"])
    throttled = thief.change_password(token, OLD, NEW)

    assert codes == ["password_wrong"] * 5 + ["too_many_attempts"] * 2
    assert (throttled.status_code, refusal(throttled)["code"]) == (429, "too_many_attempts")
    assert int(throttled.headers["Retry-After"]) >= 1
    assert api.sign_in(ADA, OLD).status_code == 200, "the owner can still sign in"


def test_pw11_an_account_without_a_password_is_referred_to_password_reset(api: ApiClient, mailbox: Mailbox) -> None:
    api.register(ADA, mailbox)
    api.ask_to_sign_in(ADA)
    token = api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).get_json()["data"]["access_token"]

    answer = api.change_password(token, OLD, NEW)

    assert (answer.status_code, refusal(answer)["code"]) == (409, "password_not_set")
    assert "password reset" in refusal(answer)["msg"]
    for empty in ("", None):
        body = {"current_password": empty, "new_password": NEW}
        assert api.with_token(token, "PUT", "/me/password", json=body).status_code == 422
    assert api.with_token(token, "PUT", "/me/password", json={"new_password": NEW}).status_code == 422


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("short", "too_short"),
        ("z" * 129, "too_long"),
        ("z" * 15_000, "too_long"),
        ("correct\thorse", "control_characters"),
        ("password1", "common"),
        ("ada@example.org", "context"),
        (OLD, "unchanged"),
        ("ｃｏｒｒｅｃｔ horse battery", "unchanged"),
    ],
)
def test_pw2_a_rejected_new_password_gets_a_reason_and_is_never_hashed(
    token: str, api: ApiClient, services: Services, new: str, reason: str
) -> None:
    with occupied(services.registration.passwords.hasher):
        answer = api.change_password(token, OLD, new)

    assert answer.status_code == 422, answer.text
    [field] = refusal(answer)["fields"]
    assert (field["field"], field["reason"]) == ("new_password", reason)
    assert new not in answer.text or new in ("password1", "short")


def test_a_rejected_new_password_counts_no_failed_attempt(token: str, api: ApiClient) -> None:
    for _ in range(8):
        assert refusal(api.change_password(token, OLD, "short"))["code"] == "validation_failed"

    assert api.change_password(token, OLD, NEW).status_code == 200


def test_lg4_a_password_change_sends_a_security_notification(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    api.change_password(token, OLD, NEW)

    assert mailbox.letters_to(ADA)[0].subject == "Your password for Portal was changed"
    assert "203.0.113.7" in mailbox.letters_to(ADA)[0].text


def test_cd4_codes_emailed_before_a_password_change_are_invalid(token: str, api: ApiClient, mailbox: Mailbox) -> None:
    codes: dict[str, str] = {}
    for name, ask in (("sign in", api.ask_to_sign_in), ("recover", api.ask_to_recover)):
        assert ask(ADA).status_code == 200
        codes[name] = mailbox.code_sent_to(ADA)
    api.ask_to_move(token, "new@example.org", password=OLD)
    codes["move"] = mailbox.code_sent_to("new@example.org")
    api.ask_to_leave(token)
    codes["leave"] = mailbox.code_sent_to(ADA)

    assert api.change_password(token, OLD, NEW).status_code == 200

    assert refusal(api.sign_in_by_code(ADA, codes["sign in"]))["code"] == "credentials_rejected"
    assert refusal(api.recover(ADA, codes["recover"], OLD))["code"] == "code_expired"
    assert refusal(api.move(token, codes["move"]))["code"] == "code_expired"
    assert refusal(api.leave(token, code=codes["leave"]))["code"] == "code_expired"


def test_pw9_a_busy_service_changes_nothing(token: str, api: ApiClient, services: Services) -> None:
    with occupied(services.registration.passwords.hasher):
        busy = api.change_password(token, OLD, NEW)

    assert (busy.status_code, refusal(busy)["code"]) == (503, "service_busy")
    assert api.sign_in(ADA, OLD).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"current_password": OLD},
        {"current_password": OLD, "new_password": None},
        {"current_password": OLD, "new_password": 12345678},
        {"current_password": OLD, "new_password": NEW, "user_id": 1},
    ],
)
def test_az3_an_unexpected_body_fails_validation(token: str, api: ApiClient, body: Any) -> None:
    assert refusal(api.with_token(token, "PUT", "/me/password", json=body))["code"] == "validation_failed"


def test_tk14_a_password_is_accepted_in_the_body_only(token: str, api: ApiClient) -> None:
    parameters = {"current_password": OLD, "new_password": NEW}

    assert api.with_token(token, "PUT", "/me/password", query_string=parameters).status_code == 422
    assert api.with_token(token, "DELETE", "/me", query_string={"password": OLD}).status_code == 422
    assert api.is_signed_in(token)


def test_a_flush_of_redis_revives_no_session_and_no_old_password(
    token: str, api: ApiClient, app: Flask, forget_everything_in_redis: Callable[[], None]
) -> None:
    other = ApiClient(app).signed_in(ADA, OLD)["access_token"]
    api.change_password(token, OLD, NEW)

    forget_everything_in_redis()

    assert not api.is_signed_in(other)
    assert api.sign_in(ADA, OLD).status_code == 401
