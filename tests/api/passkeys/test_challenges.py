"""Challenges of passkeys: bound to purpose, session and ticket, valid for five minutes, used once (PK3)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_service.adapters.crypto.flow_tickets import FlowTicket, FlowTickets, TicketPurpose
from auth_service.adapters.crypto.keys import from_base64url
from auth_service.settings import Settings
from tests.support.actors import ADA, ApiClient, refusal
from tests.support.application import new_application
from tests.support.authenticator import Authenticator
from tests.support.passkeys import MINE, REAUTHENTICATE, SIGN_IN, PasskeyUser, begun, by_password, sign_in
from tests.support.races import at_once, outcome
from tests.support.stores import SECOND_FACTOR_KEY, Query

TOO_BUSY = ((503, "database_away"), (503, "service_busy"))


def late(options: dict[str, Any], purpose: TicketPurpose, **content: Any) -> str:
    """A ticket with the challenge of these options that has just expired."""
    ticket = FlowTicket(purpose=purpose, challenge=from_base64url(options["challenge"]), **content)
    return FlowTickets(SECOND_FACTOR_KEY, ttl=timedelta(seconds=-1)).seal(ticket)


def authenticate(user: PasskeyUser, path: str, credential: dict[str, Any], ticket: str | None) -> tuple[int, str]:
    body = {"credential": credential} | ({"ticket": ticket} if ticket else {})
    return outcome(user.call("POST", path, json=body))


def test_pk3_a_challenge_of_another_purpose_is_refused(user: PasskeyUser, passkey: Authenticator) -> None:
    of_sign_in = begun(user.api.call("POST", f"{SIGN_IN}/options"))
    of_session = user.begin(REAUTHENTICATE)
    of_registration = user.begin()

    for data in (of_session, of_registration):
        assert authenticate(user, SIGN_IN, passkey.get(data["options"]), data["ticket"]) == (401, "passkey_rejected")
    for data in (of_sign_in, of_registration):
        assert authenticate(user, REAUTHENTICATE, passkey.get(data["options"]), data["ticket"]) == (
            401,
            "passkey_rejected",
        )
    for data in (of_sign_in, of_session):
        credential = Authenticator().create(of_registration["options"] | {"challenge": data["options"]["challenge"]})
        assert authenticate(user, MINE, credential, data["ticket"]) == (422, "passkey_unfit")


def test_pk3_a_challenge_of_another_session_is_refused(user: PasskeyUser, passkey: Authenticator) -> None:
    other = by_password(user.api)
    registration, reauthentication = other.begin(), other.begin(REAUTHENTICATE)

    answer = user.call(
        "POST",
        MINE,
        json={"credential": Authenticator().create(registration["options"]), "ticket": registration["ticket"]},
    )
    assert (answer.status_code, refusal(answer)["reason"]) == (422, "challenge")
    assert authenticate(user, REAUTHENTICATE, passkey.get(reauthentication["options"]), reauthentication["ticket"]) == (
        401,
        "passkey_rejected",
    )


def test_pk3_the_challenge_of_another_ticket_is_refused(user: PasskeyUser, passkey: Authenticator) -> None:
    first, second = (begun(user.api.call("POST", f"{SIGN_IN}/options")) for _ in range(2))

    assert authenticate(user, SIGN_IN, passkey.get(first["options"]), second["ticket"]) == (401, "passkey_rejected")


@pytest.mark.parametrize("ticket", ["x", "A" * 200])
def test_pk3_a_forged_ticket_is_refused(user: PasskeyUser, passkey: Authenticator, ticket: str) -> None:
    data = begun(user.api.call("POST", f"{SIGN_IN}/options"))

    assert authenticate(user, SIGN_IN, passkey.get(data["options"]), ticket) == (401, "passkey_rejected")


def test_pk3_without_a_ticket_nothing_is_accepted(app: Flask, user: PasskeyUser, passkey: Authenticator) -> None:
    data = begun(user.api.call("POST", f"{SIGN_IN}/options"))
    program = PasskeyUser(ApiClient(app, cookies=False), user.token)

    assert authenticate(program, SIGN_IN, passkey.get(data["options"]), None) == (401, "passkey_rejected")
    assert authenticate(program, REAUTHENTICATE, passkey.get(data["options"]), None) == (401, "passkey_rejected")
    assert authenticate(program, MINE, Authenticator().create(user.begin()["options"]), None) == (422, "passkey_unfit")


def test_pk3_a_late_answer_is_refused(user: PasskeyUser, passkey: Authenticator) -> None:
    data = begun(user.api.call("POST", f"{SIGN_IN}/options"))
    ticket = late(data["options"], TicketPurpose.PASSKEY_SIGN_IN, transport="")

    assert authenticate(user, SIGN_IN, passkey.get(data["options"]), ticket) == (401, "passkey_rejected")
    assert authenticate(user, SIGN_IN, passkey.get(data["options"]), data["ticket"]) == (200, "")


def test_fd5_a_challenge_signs_in_once(user: PasskeyUser, passkey: Authenticator) -> None:
    data = begun(user.api.call("POST", f"{SIGN_IN}/options"))
    credential = passkey.get(data["options"])

    outcomes = [authenticate(user, SIGN_IN, credential, data["ticket"]) for _ in range(2)]

    assert outcomes == [(200, ""), (401, "passkey_rejected")]


def test_pk3_a_challenge_registers_one_passkey(user: PasskeyUser) -> None:
    data = user.begin()
    first, second = Authenticator(), Authenticator()

    outcomes = [
        authenticate(user, MINE, each.create(data["options"]), data["ticket"]) for each in (first, second, first)
    ]

    assert outcomes == [(201, ""), (422, "passkey_unfit"), (409, "passkey_taken")]
    assert len(user.list()) == 1


def test_pk3_fifty_concurrent_sign_ins_with_one_challenge_open_one_session(
    crowded: Flask, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    data = begun(user.api.call("POST", f"{SIGN_IN}/options"))
    body = {"credential": passkey.get(data["options"]), "ticket": data["ticket"]}

    answers = at_once(50, lambda: ApiClient(crowded, cookies=False).call("POST", SIGN_IN, json=body))

    outcomes = [outcome(answer) for answer in answers]
    assert outcomes.count((200, "")) == 1
    # On a busy machine some wait longer for the passkey than a request may.
    assert set(outcomes) <= {(200, ""), (401, "passkey_rejected"), *TOO_BUSY}
    assert query("SELECT count(*) FROM sessions WHERE method = 'passkey'") == [(1,)]


def test_pk3_one_challenge_opens_one_session_also_for_two_passkeys(
    crowded: Flask, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    other, _ = user.register()
    data = begun(user.api.call("POST", f"{SIGN_IN}/options"))
    bodies = [{"credential": each.get(data["options"]), "ticket": data["ticket"]} for each in (passkey, other)] * 5

    answers = at_once(10, lambda: ApiClient(crowded, cookies=False).call("POST", SIGN_IN, json=bodies.pop()))

    assert sorted(outcome(answer) for answer in answers) == [(200, ""), *[(401, "passkey_rejected")] * 9]
    assert query("SELECT count(*) FROM sessions WHERE method = 'passkey'") == [(1,)]


def test_pk3_a_reauthentication_uses_its_challenge_up(user: PasskeyUser, passkey: Authenticator) -> None:
    data = user.begin(REAUTHENTICATE)
    body = {"credential": passkey.get(data["options"]), "ticket": data["ticket"]}
    answer = user.call("POST", REAUTHENTICATE, json=body)
    assert answer.status_code == 200

    renewed = PasskeyUser(user.api, answer.get_json()["data"]["access_token"], ADA)

    assert outcome(user.call("POST", REAUTHENTICATE, json=body)) == (401, "token_invalid")
    assert outcome(renewed.call("POST", REAUTHENTICATE, json=body)) == (401, "passkey_rejected")
    assert sign_in(user.api, passkey).status_code == 200


def test_a_sign_in_with_a_passkey_takes_no_second_connection_while_it_holds_locks(
    make_settings: Callable[..., Settings], passkey: Authenticator
) -> None:
    """Otherwise concurrent requests that wait for the locks could hold all connections, and none would succeed."""
    with new_application(make_settings(database_connections=1)) as app:  # has not read the signing keys
        assert sign_in(ApiClient(app), passkey).status_code == 200
