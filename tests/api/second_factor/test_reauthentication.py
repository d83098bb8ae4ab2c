"""Reauthentication with a second factor: TOTP or a recovery code beside the first factor."""

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.second_factor import ProtectedUser
from tests.support.stores import Query

REAUTHENTICATE = "/me/reauthenticate"


def test_lv1_reauthentication_by_password_and_totp_is_aal2(protected: ProtectedUser) -> None:
    old = protected.access_token

    assert protected.reauthenticate(password=PASSWORD, totp=protected.unused_code()).status_code == 200

    assert not protected.api.is_signed_in(old)
    me = protected.call("GET", "/me").get_json()["data"]
    assert (me["acr"], me["amr"]) == ("aal2", ["pwd", "otp", "mfa"])


def test_lv1_reauthentication_by_emailed_code_and_recovery_code_is_aal2(
    protected: ProtectedUser, mailbox: Mailbox
) -> None:
    assert protected.call("POST", f"{REAUTHENTICATE}/send_code").status_code == 200
    code = mailbox.code_sent_to(ADA)

    answer = protected.reauthenticate(code=code, recovery_code=protected.recovery_codes[0])

    assert answer.status_code == 200, answer.text
    me = protected.call("GET", "/me").get_json()["data"]
    assert (me["acr"], me["amr"]) == ("aal2", ["email", "recovery", "mfa"])


def test_lv3_the_first_factor_alone_is_not_sufficient(protected: ProtectedUser) -> None:
    answer = protected.reauthenticate(password=PASSWORD)

    [field] = refusal(answer)["fields"]
    assert (answer.status_code, field["field"], field["reason"]) == (422, "totp", "missing")


def test_lv3_an_account_without_a_second_factor_accepts_no_code_of_one(api: ApiClient, token: str) -> None:
    answer = api.with_token(token, "POST", REAUTHENTICATE, json={"password": PASSWORD, "totp": "123456"})

    [field] = refusal(answer)["fields"]
    assert (answer.status_code, field["field"], field["reason"]) == (422, "totp", "unexpected")


def test_lv3_a_stolen_token_without_the_password_does_not_reach_the_second_factor(
    protected: ProtectedUser, query: Query
) -> None:
    answer = protected.reauthenticate(password="a wrong password", totp=protected.wrong_code())

    assert (answer.status_code, refusal(answer)["code"]) == (403, "password_wrong")
    assert query("SELECT failures FROM second_factors") == [(0,)]


def test_lv3_failed_attempts_count_together_with_those_of_the_sign_in(protected: ProtectedUser, query: Query) -> None:
    wrong = protected.reauthenticate(password=PASSWORD, totp=protected.wrong_code())

    assert (wrong.status_code, refusal(wrong)["code"]) == (403, "second_factor_wrong")
    assert query("SELECT failures FROM second_factors") == [(1,)]
    answer = protected.second_step(protected.ticket(), totp=protected.wrong_code())
    assert refusal(answer)["attempts_left"] == 3
