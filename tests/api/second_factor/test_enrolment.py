"""Enrolment of TOTP: QR code, confirmation, recovery codes, disabling."""

import re
import xml.etree.ElementTree as ET

import pytest

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.second_factor import CODES, TOTP, ProtectedUser, app_of, begin
from tests.support.stores import Query

SECOND_FACTOR = "/me/second_factor"


def test_sf1_a_user_enables_totp_signs_in_uses_a_recovery_code_and_disables_totp(
    api: ApiClient, token: str, query: Query, mailbox: Mailbox
) -> None:
    other_session = api.signed_in(ADA, PASSWORD)["access_token"]
    data = begin(api, token)
    app = app_of(data)
    assert (app.name, app.issuer, app.digits, app.interval, app.secret) == (ADA, "Portal", 6, 30, data["secret"])
    assert len(app.byte_secret()) == 20
    assert data["expires_in"] == 600
    assert ET.fromstring(data["qr_svg"]).tag == "{http://www.w3.org/2000/svg}svg"
    assert api.sign_in(ADA, PASSWORD).status_code == 200, "a pending enrolment protects nothing"

    confirmed = api.with_token(token, "PUT", TOTP, json={"totp": app.now()})

    assert confirmed.status_code == 200, confirmed.text
    new = confirmed.get_json()["data"]
    assert not api.is_signed_in(token)
    assert not api.is_signed_in(other_session)
    me = api.with_token(new["access_token"], "GET", "/me").get_json()["data"]
    assert (me["acr"], me["amr"]) == ("aal2", ["pwd", "otp", "mfa"])
    assert len(set(new["recovery_codes"])) == 10
    assert all(
        re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}", code) for code in new["recovery_codes"]
    )
    user = ProtectedUser(api=api, email=ADA, app=app, query=query, access_token=new["access_token"])
    assert user.second_step(user.ticket(), recovery_code=new["recovery_codes"][0]).status_code == 200
    user.signed_in()
    status = user.call("GET", SECOND_FACTOR).get_json()["data"]
    assert status["totp"]["on"] is True
    assert (status["recovery_codes"]["left"], status["required"], status["passkeys"]) == (9, False, 0)
    assert user.call("DELETE", TOTP).status_code == 200
    assert user.call("DELETE", TOTP).status_code == 200, "idempotent"
    assert api.sign_in(ADA, PASSWORD).status_code == 200
    status = user.call("GET", SECOND_FACTOR).get_json()["data"]
    assert (status["totp"]["on"], status["recovery_codes"]) == (False, {"left": 0, "since": None})
    subjects = [letter.subject for letter in mailbox.letters_to(ADA)]
    assert sum("two-step sign-in" in subject for subject in subjects) == 1
    assert sum("is off" in subject for subject in subjects) == 1


def test_sf1_only_the_session_that_began_the_enrolment_finishes_it(api: ApiClient, token: str) -> None:
    app = app_of(begin(api, token))
    other = api.signed_in(ADA, PASSWORD)["access_token"]

    answer = api.with_token(other, "PUT", TOTP, json={"totp": app.now()})

    assert (answer.status_code, refusal(answer)["code"]) == (404, "totp_not_pending")
    assert api.with_token(token, "PUT", TOTP, json={"totp": app.now()}).status_code == 200


def test_a_new_enrolment_replaces_the_pending_one_and_expires(api: ApiClient, token: str, query: Query) -> None:
    first, second = app_of(begin(api, token)), app_of(begin(api, token))

    wrong = api.with_token(token, "PUT", TOTP, json={"totp": first.now()})
    assert (wrong.status_code, refusal(wrong)["code"]) == (403, "second_factor_wrong")
    query("UPDATE second_factors SET pending_until = now() - interval '1 second' RETURNING 1")
    late = api.with_token(token, "PUT", TOTP, json={"totp": second.now()})
    assert (late.status_code, refusal(late)["code"]) == (404, "totp_not_pending")


def test_totp_that_is_on_cannot_be_replaced_without_disabling_it(protected: ProtectedUser) -> None:
    answer = protected.call("POST", TOTP)

    assert (answer.status_code, refusal(answer)["code"]) == (409, "totp_on")
    late = protected.call("PUT", TOTP, json={"totp": protected.unused_code()})
    assert (late.status_code, refusal(late)["code"]) == (404, "totp_not_pending")


def test_fd3_the_code_that_finished_the_enrolment_counts_as_used(protected: ProtectedUser) -> None:
    answer = protected.second_step(protected.ticket(), totp=protected.code())

    assert (answer.status_code, refusal(answer)["code"]) == (401, "second_factor_rejected")


@pytest.mark.parametrize(("method", "path"), [("POST", TOTP), ("DELETE", TOTP), ("POST", CODES)])
def test_se3_changes_of_the_second_factor_need_a_recent_authentication(
    protected: ProtectedUser, query: Query, method: str, path: str
) -> None:
    query("UPDATE sessions SET authenticated_at = authenticated_at - interval '601 seconds' RETURNING 1")

    answer = protected.call(method, path)

    assert (answer.status_code, refusal(answer)["code"]) == (401, "insufficient_user_authentication")
    assert refusal(answer)["acr_values"] == "aal2"


def test_recovery_codes_need_a_second_factor(api: ApiClient, token: str) -> None:
    answer = api.with_token(token, "POST", CODES)

    assert (answer.status_code, refusal(answer)["code"]) == (409, "second_factor_needed")
