"""Recovery codes: digests only, single use, spelling, regeneration, email with the number left."""

import hashlib

from flask import Flask

from tests.support.actors import ADA, ApiClient, Mailbox, refusal
from tests.support.races import at_once
from tests.support.second_factor import CODES, STEP, ProtectedUser, enrolled
from tests.support.stores import Query


def test_sf8_a_recovery_code_works_once_and_its_user_reads_how_many_are_left(
    protected: ProtectedUser, mailbox: Mailbox
) -> None:
    code = protected.recovery_codes[0]

    first = protected.second_step(protected.ticket(), recovery_code=code)
    again = protected.second_step(protected.ticket(), recovery_code=code)

    assert first.status_code == 200
    me = protected.api.with_token(first.get_json()["data"]["access_token"], "GET", "/me").get_json()["data"]
    assert (me["acr"], me["amr"]) == ("aal2", ["pwd", "recovery", "mfa"])
    assert (again.status_code, refusal(again)["code"]) == (401, "second_factor_rejected")
    assert "attempts_left" not in refusal(again)
    [letter] = [letter for letter in mailbox.letters_to(ADA) if "recovery code was used" in letter.subject]
    assert "left: 9" in letter.text


def test_fd4_only_the_digests_of_recovery_codes_are_stored(protected: ProtectedUser, query: Query) -> None:
    stored = {bytes(digest) for (digest,) in query("SELECT digest FROM recovery_codes")}

    assert stored == {hashlib.sha256(code.replace("-", "").encode()).digest() for code in protected.recovery_codes}


def test_sf8_case_separators_and_letters_like_digits_do_not_matter(protected: ProtectedUser) -> None:
    code = next(code for code in protected.recovery_codes if set(code) & set("01"))
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")

    assert protected.second_step(protected.ticket(), recovery_code=f" {typed} ").status_code == 200


def test_a_text_that_is_no_recovery_code_is_a_field_error(protected: ProtectedUser) -> None:
    answer = protected.second_step(protected.ticket(), recovery_code="7Q4M-0XKD")

    assert [(field["field"], field["reason"]) for field in refusal(answer)["fields"]] == [
        ("recovery_code", "code_invalid")
    ]


def test_sf8_new_recovery_codes_invalidate_the_old_ones(protected: ProtectedUser) -> None:
    answer = protected.call("POST", CODES)

    new = answer.get_json()["data"]["recovery_codes"]
    assert len(set(new) - set(protected.recovery_codes)) == 10
    assert protected.second_step(protected.ticket(), recovery_code=protected.recovery_codes[0]).status_code == 401
    assert protected.second_step(protected.ticket(), recovery_code=new[0]).status_code == 200


def test_sf8_fifty_concurrent_uses_of_one_recovery_code_open_one_session(
    crowded: Flask, ada: int, query: Query
) -> None:
    user = enrolled(ApiClient(crowded), ADA, query)
    tickets = [user.ticket() for _ in range(50)]
    body = {"recovery_code": user.recovery_codes[0]}

    answers = at_once(50, lambda: ApiClient(crowded).call("POST", STEP, json={"ticket": tickets.pop(), **body}))

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 503}, "503: on a loaded machine a request waits too long for a lock"
    assert query("SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL") == [(1,)]
