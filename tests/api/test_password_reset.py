"""Password reset by an emailed code: it signs no client in and revokes all sessions."""

from collections import Counter
from typing import Any

import pytest
from flask import Flask

from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.crowds import occupied
from tests.support.races import at_once, outcome
from tests.support.stores import Query

ADA, OLD, NEW = "ada@example.org", "correct horse battery", "analytical engines hum"
EXPIRED = (404, "code_expired")


@pytest.fixture
def ada(api: ApiClient, mailbox: Mailbox) -> int:
    """Ada is registered."""
    return api.register(ADA, mailbox, password=OLD)


def test_a_user_resets_the_password(ada: int, api: ApiClient, mailbox: Mailbox) -> None:
    assert api.ask_to_recover(ADA).get_json() == {"success": True, "result": "Ok"}

    answer = api.recover(ADA, mailbox.code_sent_to(ADA), NEW)

    assert answer.get_json() == {"success": True, "result": "Ok"}
    assert api.sign_in(ADA, OLD).status_code == 401
    assert api.sign_in(ADA, NEW).status_code == 200


def test_pw11_a_user_without_a_password_sets_one_by_password_reset(api: ApiClient, mailbox: Mailbox) -> None:
    api.register(ADA, mailbox)
    api.ask_to_recover(ADA)

    assert api.recover(ADA, mailbox.code_sent_to(ADA), NEW).status_code == 200

    assert api.sign_in(ADA, NEW).status_code == 200


def test_pw10_password_reset_revokes_every_session_and_opens_none(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    phone = ApiClient(app)
    here, there = api.signed_in(ADA, OLD), phone.signed_in(ADA, OLD)
    api.ask_to_recover(ADA)

    answer = api.recover(ADA, mailbox.code_sent_to(ADA), NEW)

    assert answer.headers.getlist("Set-Cookie") == []
    for tokens in (here, there):
        assert not api.is_signed_in(tokens["access_token"])
        assert api.refresh(tokens["refresh_token"]).status_code == 401
    assert query("SELECT DISTINCT end_reason FROM sessions") == [("password_recovered",)]
    assert query("SELECT count(*) FROM events WHERE kind = 'password_recovered'") == [(1,)]


def test_pw10_password_reset_cancels_pending_email_changes(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    thief = ApiClient(app)
    token = thief.signed_in(ADA, OLD)["access_token"]
    thief.ask_to_move(token, "thief@example.org", password=OLD)
    code = mailbox.code_sent_to("thief@example.org")
    api.ask_to_recover(ADA)

    api.recover(ADA, mailbox.code_sent_to(ADA), NEW)

    assert query("SELECT count(*) FROM email_changes") == [(0,)]
    assert refusal(thief.move(token, code))["code"] == "token_invalid"
    own = api.signed_in(ADA, NEW)["access_token"]
    assert refusal(api.move(own, code))["code"] == "code_expired"


def test_pw10_password_reset_does_not_allow_user_enumeration(
    ada: int, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    ApiClient(app).sign_up("temporary@example.org")
    sent, refused = [], []
    for email in (ADA, "unknown@example.org", "temporary@example.org"):
        client = ApiClient(app)
        sent.append(client.ask_to_recover(email))
        refused.append([client.recover(email, "12345", NEW) for _ in range(6)])

    assert {(answer.status_code, answer.text) for answer in sent} == {(200, sent[0].text)}
    assert len({tuple(sorted(name for name, _ in answer.headers)) for answer in sent}) == 1
    assert all("recovery=" in answer.headers["Set-Cookie"] for answer in sent)
    assert {tuple(answer.text for answer in answers) for answers in refused} == {
        tuple(answer.text for answer in refused[0])
    }
    assert [outcome(answer)[1] for answer in refused[0]] == ["code_wrong"] * 5 + ["code_expired"]
    assert [email for (email,) in query("SELECT recipient FROM letters WHERE kind = 'recovery_code'")] == [ADA]


@pytest.mark.clock
def test_pw10_the_code_expires_after_ten_minutes_and_is_not_stored(
    ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    api.ask_to_recover(ADA)
    [(ttl,)] = query("SELECT extract(epoch FROM not_after - created_at) FROM letters WHERE kind = 'recovery_code'")
    assert ttl == 600
    assert "within 10 minutes" in mailbox.letters_to(ADA)[0].text
    assert query("SELECT payload FROM letters WHERE kind = 'recovery_code'") == [(None,)], (
        "the payload is erased once the email is sent"
    )


@pytest.mark.parametrize("cookies", [True, False])
def test_pw10_a_newer_code_replaces_the_older_one(ada: int, app: Flask, mailbox: Mailbox, cookies: bool) -> None:
    client = ApiClient(app, cookies=cookies)
    client.ask_to_recover(ADA)
    older = mailbox.code_sent_to(ADA)
    client.ask_to_recover(ADA)
    newer = mailbox.code_sent_to(ADA)

    assert outcome(client.recover(ADA, older, NEW)) == (404, "code_wrong") or older == newer
    assert client.recover(ADA, newer, NEW).status_code == 200


def test_pw10_a_code_works_once_and_invalidates_the_codes_of_other_browsers(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    other = ApiClient(app)
    other.ask_to_recover(ADA)
    other_code = mailbox.code_sent_to(ADA)
    api.ask_to_recover(ADA)
    code = mailbox.code_sent_to(ADA)
    assert api.recover(ADA, code, NEW).status_code == 200

    assert outcome(api.recover(ADA, code, OLD)) == EXPIRED
    assert outcome(other.recover(ADA, other_code, OLD)) == EXPIRED
    assert api.sign_in(ADA, NEW).status_code == 200


def test_cd4_unbound_attempts_do_not_invalidate_the_code(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    api.ask_to_recover(ADA)
    code = mailbox.code_sent_to(ADA)
    attacker = ApiClient(app, address="198.51.100.9", cookies=False)

    for _ in range(8):
        assert attacker.recover(ADA, "12345", NEW).status_code == 404

    assert outcome(attacker.recover(ADA, code, NEW)) == EXPIRED
    assert api.recover(ADA, code, NEW).status_code == 200


@pytest.mark.parametrize(
    ("new", "reason"), [("short", "too_short"), ("password1", "common"), ("z" * 129, "too_long"), (ADA, "context")]
)
def test_pw2_a_rejected_new_password_does_not_consume_the_code(
    ada: int, api: ApiClient, mailbox: Mailbox, new: str, reason: str
) -> None:
    api.ask_to_recover(ADA)
    code = mailbox.code_sent_to(ADA)

    for _ in range(6):
        [field] = refusal(api.recover(ADA, code, new))["fields"]
        assert (field["field"], field["reason"]) == ("new_password", reason)

    assert api.recover(ADA, code, NEW).status_code == 200


def test_a_busy_service_does_not_consume_the_code(
    ada: int, api: ApiClient, mailbox: Mailbox, services: Services
) -> None:
    api.ask_to_recover(ADA)
    code = mailbox.code_sent_to(ADA)

    with occupied(services.registration.passwords.hasher):
        assert outcome(api.recover(ADA, code, NEW)) == (503, "service_busy")

    assert api.recover(ADA, code, NEW).status_code == 200


def test_lg4_a_password_reset_sends_a_security_notification(ada: int, api: ApiClient, mailbox: Mailbox) -> None:
    api.ask_to_recover(ADA)
    api.recover(ADA, mailbox.code_sent_to(ADA), NEW)

    assert "new password" in mailbox.letters_to(ADA)[0].subject.lower()
    assert "203.0.113.7" in mailbox.letters_to(ADA)[0].text


@pytest.mark.parametrize("cookies", [True, False])
def test_cd2_of_fifty_concurrent_resets_with_the_right_code_one_succeeds(
    crowded: Flask, ada: int, mailbox: Mailbox, query: Query, cookies: bool
) -> None:
    holder = ApiClient(crowded, cookies=cookies)
    holder.ask_to_recover(ADA)
    code = mailbox.code_sent_to(ADA)
    ticket = holder.client.get_cookie("recovery") if cookies else None
    numbers = iter(range(50))

    def reset() -> Any:
        client = ApiClient(crowded, cookies=cookies)
        if ticket:
            client.client.set_cookie("recovery", ticket.value)
        return client.recover(ADA, code, f"{NEW} {next(numbers)}")

    answers = at_once(50, reset)

    outcomes = Counter(map(outcome, answers))
    # Requests that wait too long for the password hasher are rejected before their code is checked.
    assert outcomes[(200, "")] == 1
    assert outcomes.keys() <= {(200, ""), EXPIRED, (503, "service_busy")}
    assert query("SELECT credential_version FROM users") == [(1,)]


@pytest.mark.parametrize("cookies", [True, False])
def test_cd3_of_fifty_concurrent_wrong_codes_five_are_checked(
    crowded: Flask, ada: int, mailbox: Mailbox, cookies: bool
) -> None:
    holder = ApiClient(crowded, cookies=cookies)
    holder.ask_to_recover(ADA)
    ticket = holder.client.get_cookie("recovery") if cookies else None

    def attempt() -> Any:
        client = ApiClient(crowded, cookies=cookies)
        if ticket:
            client.client.set_cookie("recovery", ticket.value)
        return client.recover(ADA, "12345", NEW)

    answers = at_once(50, attempt)

    outcomes = Counter(map(outcome, answers))
    assert outcomes[(404, "code_wrong")] == 5
    assert outcomes.keys() <= {(404, "code_wrong"), EXPIRED, (503, "service_busy")}
