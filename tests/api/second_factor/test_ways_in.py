"""Ways into the sign-in: each asks for the second step; and equal work of wrong and delayed codes."""

from collections.abc import Callable

import pytest
from flask import Flask

from tests.support import round_trips, transactions
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import Administration
from tests.support.legacy_hashes import CHEAP
from tests.support.second_factor import STEP, ProtectedUser, enrolled
from tests.support.stores import Query

GRACE = "grace@example.org"


def test_sf7_a_user_with_an_imported_legacy_hash_needs_the_second_step_and_gets_a_new_hash(
    protected: ProtectedUser, query: Query
) -> None:
    legacy = CHEAP["Django 5.2 scrypt"]
    query("UPDATE users SET password_hash = %s WHERE email = %s RETURNING 1", legacy, ADA)

    answer = protected.first_step()

    assert refusal(answer)["code"] == "second_factor_required"
    [(stored,)] = query("SELECT password_hash FROM users WHERE email = %s", ADA)
    assert stored.startswith("$argon2id$"), "what the first factor has changed is committed"
    assert protected.second_step(refusal(answer)["ticket"], totp=protected.unused_code()).status_code == 200


def test_sf7_a_user_of_an_invitation_signs_in_in_two_steps_after_the_enrolment(
    app: Flask, mailbox: Mailbox, query: Query
) -> None:
    admin = Administration(app, mailbox).administrator()
    admin.data("POST", "/invitations", json={"email": GRACE}, status=201)
    api = ApiClient(app)
    body = {"token": mailbox.invitation_sent_to(GRACE), "password": PASSWORD}
    assert api.call("POST", "/invitation/accept", json=body).status_code == 200
    enrolled(api, GRACE, query)

    assert refusal(api.sign_in(GRACE, PASSWORD))["code"] == "second_factor_required"


def test_ot3_the_first_administrator_signs_in_by_code_in_two_steps(
    make_app: Callable[..., Flask], ada: int, query: Query, mailbox: Mailbox
) -> None:
    api = ApiClient(make_app(first_administrator=ADA))
    user = enrolled(api, ADA, query)
    api.ask_to_sign_in(ADA)
    ticket = refusal(api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)))["ticket"]
    role = "SELECT count(*) FROM user_roles WHERE role = 'ROLE_PORTAL_ADMIN'"
    assert query(role) == [(0,)], "the first step grants nothing"

    assert user.second_step(ticket, totp=user.unused_code()).status_code == 200

    assert query(role) == [(1,)]


def test_the_new_device_notification_follows_the_second_step(
    app: Flask, protected: ProtectedUser, mailbox: Mailbox, query: Query
) -> None:
    def notifications() -> int:
        return sum("new" in letter.subject.lower() for letter in mailbox.letters_to(ADA))

    before = notifications()
    user = ProtectedUser(api=ApiClient(app, address="198.51.100.9"), email=ADA, app=protected.app, query=query)
    ticket = user.ticket()
    assert notifications() == before

    assert user.second_step(ticket, totp=user.unused_code()).status_code == 200

    assert notifications() == before + 1


def test_en2_sf12_wrong_and_delayed_codes_cost_the_same_work(
    app: Flask, protected: ProtectedUser, query: Query
) -> None:
    ticket, wrong = protected.ticket(), protected.wrong_code()

    def work(failures: int, age: str) -> tuple[int, int, int, list[str]]:
        query("UPDATE second_factors SET failures = %s, failed_at = now() - %s::interval RETURNING 1", failures, age)
        api = ApiClient(app, address="198.51.100.9")
        with round_trips.of_this_thread() as trips, transactions.committed(app) as committed:
            answer = api.call("POST", STEP, json={"ticket": ticket, "totp": wrong})
        assert answer.status_code == 401
        return trips.redis, trips.postgres - committed.added, len(committed.ids), committed.statements

    work(6, "1 hour")  # connects, and prepares the statements

    assert work(6, "1 hour") == work(20, "1 second")


@pytest.mark.parametrize("purpose", ["first step", "second step"])
def test_sf12_a_second_factor_is_revealed_to_correct_credentials_only(
    protected: ProtectedUser, api: ApiClient, purpose: str
) -> None:
    if purpose == "first step":
        answer = api.sign_in(ADA, "a wrong password")
        assert refusal(answer) == refusal(api.sign_in("unknown@example.org", "a wrong password"))
    else:
        answer = api.sign_in_by_code(ADA, "123456")
        assert refusal(answer)["code"] == "credentials_rejected"
