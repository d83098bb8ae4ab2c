"""Passkeys as a second factor: second step, roles that require one, reauthentication (SF7, SF9, SF15, LV3, PK7)."""

from typing import Any

import pytest
from flask import Flask
from prometheus_client import REGISTRY

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import Administration
from tests.support.application import MakeApp
from tests.support.authenticator import Authenticator, Deviation
from tests.support.passkeys import (
    MINE,
    SECOND_STEP,
    SIGN_IN,
    PasskeyUser,
    begun,
    by_password,
    claims,
    sign_in,
    signed_in,
)
from tests.support.races import at_once, outcome
from tests.support.second_factor import STEP, ProtectedUser, enrolled
from tests.support.stores import Query

EDITOR = "ROLE_EDITOR"
CSRF = {"X-Requested-With": "fetch", "Origin": "http://127.0.0.1:5000"}


@pytest.fixture
def strict(make_app: MakeApp, mailbox: Mailbox, user: PasskeyUser, ada: int) -> PasskeyUser:
    """Ada has a role that requires a second factor; her session is restricted."""
    app = make_app(second_factor_roles=(EDITOR,))
    administration = Administration(app, mailbox)
    administration.administrator().data("POST", "/roles", json={"name": EDITOR}, status=201)
    administration.grant(ada, EDITOR)
    return PasskeyUser(ApiClient(app), user.token)


def second_step(api: ApiClient, ticket: str, authenticator: Authenticator, deviation: Any = None) -> Any:
    """Continue a sign-in with a passkey."""
    answer = api.call("POST", f"{SECOND_STEP}/options", json={"ticket": ticket})
    data = begun(answer)
    credential = authenticator.get(data["options"], deviation or Deviation())
    return api.call("POST", SECOND_STEP, json={"credential": credential, "ticket": data["ticket"]})


def test_sf7_a_passkey_completes_a_sign_in_with_totp_enabled(
    api: ApiClient, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    protected = enrolled(api, ADA, query, token=user.token)
    error = refusal(protected.first_step())
    assert set(error["methods"]) == {"passkey", "totp", "recovery_code"}
    options = begun(api.call("POST", f"{SECOND_STEP}/options", json={"ticket": error["ticket"]}))["options"]
    assert len(options["allowCredentials"]) == 1

    answer = second_step(api, error["ticket"], passkey)

    assert answer.status_code == 200, answer.text
    session = PasskeyUser(api, answer.get_json()["data"]["access_token"])
    me = session.call("GET", "/me").get_json()["data"]
    assert (me["acr"], me["amr"]) == ("aal2", ["pwd", "swk", "user", "mfa"])
    assert query("SELECT method FROM sessions WHERE id = %s", claims(session.token)["sid"]) == [("password",)]


def test_sf7_a_sign_in_with_a_passkey_needs_no_second_step(
    api: ApiClient, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    enrolled(api, ADA, query, token=user.token)

    assert claims(signed_in(api, passkey).token)["acr"] == "aal2"


def test_sf6_in_the_cookie_transport_both_tickets_are_in_cookies(
    app: Flask, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    enrolled(user.api, ADA, query, token=user.token)
    browser = ApiClient(app)
    browser.call("POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=CSRF)
    data = browser.call("POST", f"{SECOND_STEP}/options", json={}, headers=CSRF).get_json()["data"]
    assert "ticket" not in data

    answer = browser.call("POST", SECOND_STEP, json={"credential": passkey.get(data["options"])}, headers=CSRF)

    assert answer.status_code == 200, answer.text
    assert browser.call("GET", "/me").get_json()["data"]["acr"] == "aal2"


def test_pk3_a_second_step_with_a_passkey_opens_one_session_also_at_once(
    crowded: Flask, api: ApiClient, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    protected = enrolled(api, ADA, query, token=user.token)
    data = begun(api.call("POST", f"{SECOND_STEP}/options", json={"ticket": protected.ticket()}))
    body = {"credential": passkey.get(data["options"]), "ticket": data["ticket"]}

    answers = at_once(5, lambda: ApiClient(crowded, cookies=False).call("POST", SECOND_STEP, json=body))

    assert sorted(outcome(answer) for answer in answers) == [(200, ""), *[(401, "second_step_expired")] * 4]


def test_fd6_the_session_of_a_passkey_consumes_the_ticket_of_the_first_step_too(
    api: ApiClient, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    protected = enrolled(api, ADA, query, token=user.token)
    ticket = protected.ticket()
    other = begun(api.call("POST", f"{SECOND_STEP}/options", json={"ticket": ticket}))

    assert second_step(api, ticket, passkey).status_code == 200

    body = {"credential": passkey.get(other["options"]), "ticket": other["ticket"]}
    assert outcome(api.call("POST", SECOND_STEP, json=body)) == (401, "second_step_expired")
    assert outcome(protected.second_step(ticket, totp=protected.unused_code())) == (401, "second_step_expired")
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(2,)]


def test_second_steps_with_a_passkey_are_counted_by_outcome(
    api: ApiClient, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    def counts() -> list[float]:
        labels = [{"method": "passkey", "outcome": outcome} for outcome in ("accepted", "rejected", "expired")]
        return [REGISTRY.get_sample_value("auth_second_steps_total", each) or 0.0 for each in labels]

    protected = enrolled(api, ADA, query, token=user.token)
    before = counts()

    assert second_step(api, protected.ticket(), passkey).status_code == 200
    assert second_step(api, protected.ticket(), passkey, Deviation(origin="https://evil.example")).status_code == 401
    credential = passkey.get(begun(api.call("POST", f"{SIGN_IN}/options"))["options"])
    assert api.call("POST", SECOND_STEP, json={"credential": credential, "ticket": "A"}).status_code == 401

    assert counts() == [number + 1 for number in before]


@pytest.mark.parametrize("what", ["the ticket of the first step", "another user", "another origin"])
def test_a_second_step_with_a_wrong_passkey_is_refused_and_recorded(
    app: Flask, api: ApiClient, user: PasskeyUser, passkey: Authenticator, query: Query, mailbox: Mailbox, what: str
) -> None:
    protected = enrolled(api, ADA, query, token=user.token)
    if what == "the ticket of the first step":
        ticket = protected.ticket()
        data = begun(api.call("POST", f"{SECOND_STEP}/options", json={"ticket": ticket}))
        answer = api.call("POST", SECOND_STEP, json={"credential": passkey.get(data["options"]), "ticket": ticket})
        assert outcome(answer) == (401, "second_step_expired")
        return
    if what == "another user":
        grace = ApiClient(app)
        grace.register("grace@example.org", mailbox, password=PASSWORD)
        other, _ = by_password(grace, "grace@example.org").register()
        answer = second_step(api, protected.ticket(), other)
    else:
        answer = second_step(api, protected.ticket(), passkey, Deviation(origin="https://evil.example"))

    assert outcome(answer) == (401, "passkey_rejected")
    [event] = query("SELECT kind, outcome, details FROM events ORDER BY id DESC LIMIT 1")
    assert event == ("passkey_refused", "failure", {"purpose": "sign_in"})


def test_sf15_while_totp_is_delayed_the_owner_signs_in_with_a_passkey_which_ends_the_delay(
    api: ApiClient, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    protected: ProtectedUser = enrolled(api, ADA, query, token=user.token)
    query("UPDATE second_factors SET failures = 100, failed_at = now() RETURNING 1")

    assert sign_in(api, passkey).status_code == 200

    assert query("SELECT failures FROM second_factors") == [(0,)]
    assert protected.second_step(protected.ticket(), totp=protected.unused_code()).status_code == 200


def test_sf9_a_passkey_lifts_the_restriction_of_a_role(strict: PasskeyUser, query: Query) -> None:
    assert outcome(strict.call("GET", MINE)) == (403, "second_factor_enrolment_required")

    authenticator, added = strict.register()

    assert len(set(added["recovery_codes"])) == 10
    assert (added["token_type"], added["expires_in"]) == ("Bearer", 900)
    new = PasskeyUser(strict.api, added["access_token"])
    assert claims(new.token)["acr"] == "aal2"
    assert not strict.api.is_signed_in(strict.token)
    assert [each["id"] for each in new.list()] == [added["id"]]
    assert strict.api.refresh(added["refresh_token"]).status_code == 200
    first = strict.api.sign_in(ADA, PASSWORD)
    assert (refusal(first)["code"], set(refusal(first)["methods"])) == (
        "second_factor_required",
        {"passkey", "recovery_code"},
    )
    assert second_step(strict.api, refusal(first)["ticket"], authenticator).status_code == 200
    ticket = refusal(strict.api.sign_in(ADA, PASSWORD))["ticket"]
    body = {"ticket": ticket, "recovery_code": added["recovery_codes"][0]}
    assert strict.api.call("POST", STEP, json=body).status_code == 200


def test_sf9_in_the_cookie_transport_the_new_session_is_in_cookies(strict: PasskeyUser) -> None:
    browser = strict.api
    browser.call("POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=CSRF)
    data = browser.call("POST", f"{MINE}/options", headers=CSRF).get_json()["data"]
    assert "ticket" not in data
    credential = Authenticator().create(data["options"])

    answer = browser.call("POST", MINE, json={"credential": credential}, headers=CSRF)

    added = answer.get_json()["data"]
    assert answer.status_code == 201, answer.text
    assert "access_token" not in added
    assert len(added["recovery_codes"]) == 10
    assert browser.call("GET", "/me").get_json()["data"]["acr"] == "aal2"


def test_sf9_a_role_that_is_granted_later_asks_for_the_existing_passkey(
    make_app: MakeApp, mailbox: Mailbox, ada: int, user: PasskeyUser, passkey: Authenticator
) -> None:
    app = make_app(second_factor_roles=(EDITOR,))
    administration = Administration(app, mailbox)
    administration.administrator().data("POST", "/roles", json={"name": EDITOR}, status=201)
    administration.grant(ada, EDITOR)
    restricted = PasskeyUser(ApiClient(app), user.token)
    denied = restricted.call("GET", MINE)
    assert outcome(denied) == (401, "insufficient_user_authentication")
    assert "passkey" in refusal(denied)["methods"]
    assert outcome(restricted.call("POST", f"{MINE}/options")) == (401, "insufficient_user_authentication")

    answer = restricted.reauthenticate(passkey)

    assert answer.status_code == 200, answer.text
    assert len(PasskeyUser(restricted.api, answer.get_json()["data"]["access_token"]).list()) == 1


def test_pk7_the_last_factor_of_a_role_that_requires_one_stays(strict: PasskeyUser) -> None:
    _, added = strict.register()
    session = PasskeyUser(strict.api, added["access_token"])
    assert outcome(session.call("DELETE", f"{MINE}/{added['id']}")) == (409, "second_factor_needed")
    assert len(session.list()) == 1

    _, second = session.register()

    assert session.call("DELETE", f"{MINE}/{added['id']}").status_code == 200
    assert outcome(session.call("DELETE", f"{MINE}/{second['id']}")) == (409, "second_factor_needed")


def test_pk7_without_such_a_role_the_last_passkey_goes_with_its_recovery_codes(
    user: PasskeyUser, query: Query, ada: int
) -> None:
    _, added = user.register()
    query("INSERT INTO recovery_codes (user_id, digest) VALUES (%s, sha256('x')) RETURNING 1", ada)

    assert user.call("DELETE", f"{MINE}/{added['id']}").status_code == 200

    assert query("SELECT count(*) FROM recovery_codes") == [(0,)]


def test_lv3_reauthentication_with_a_passkey_replaces_the_session(
    user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    query("UPDATE sessions SET authenticated_at = now() - interval '601 seconds' RETURNING 1")

    answer = user.reauthenticate(passkey)

    assert answer.status_code == 200, answer.text
    new = PasskeyUser(user.api, answer.get_json()["data"]["access_token"])
    assert (claims(new.token)["acr"], not user.api.is_signed_in(user.token)) == ("aal2", True)
    assert new.call("POST", f"{MINE}/options").status_code == 200
    events = query("SELECT kind, details ->> 'method' FROM events ORDER BY id DESC LIMIT 2")
    assert ("reauthenticated", "passkey") in events


def test_lv3_reauthentication_with_a_foreign_passkey_is_refused_and_recorded(
    app: Flask, user: PasskeyUser, passkey: Authenticator, mailbox: Mailbox, query: Query
) -> None:
    grace = ApiClient(app)
    grace.register("grace@example.org", mailbox, password=PASSWORD)
    other, _ = by_password(grace, "grace@example.org").register()

    for authenticator in (other, Authenticator(user_handle=b"h" * 32)):
        assert outcome(user.reauthenticate(authenticator)) == (401, "passkey_rejected")

    events = query("SELECT kind, details ->> 'purpose' FROM events ORDER BY id DESC LIMIT 2")
    assert events == [("passkey_refused", "reauthentication")] * 2
    assert user.api.is_signed_in(user.token)
