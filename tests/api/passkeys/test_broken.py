"""Broken WebAuthn responses through the HTTP interface: the right error for each, and no server error (PK2)."""

import json

import pytest

from tests.support.actors import ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.authenticator import Authenticator
from tests.support.broken_passkeys import SHAPE, Broken, broken_authentications, broken_registrations
from tests.support.passkeys import MINE, ORIGIN, SIGN_IN, PasskeyUser, begun
from tests.support.races import outcome
from tests.support.stores import Query

REGISTRATIONS, AUTHENTICATIONS = broken_registrations(ORIGIN), broken_authentications(ORIGIN)


@pytest.fixture
def api(make_app: MakeApp) -> ApiClient:
    """A client without rate limits, for a hundred requests in a second."""
    return ApiClient(make_app(rate_limits="off"))


def _expected(broken: Broken, error: str) -> dict[str, tuple[str, str | None]]:
    return {
        what: ("validation_failed", None) if check == SHAPE else (error, check) for what, (_, check) in broken.items()
    }


def test_pk2_each_broken_registration_is_refused_with_the_failed_check(
    user: PasskeyUser, query: Query, mailbox: Mailbox
) -> None:
    data = user.begin()
    answers = {
        what: user.call(
            "POST",
            MINE,
            json={"credential": Authenticator().create(data["options"], deviation), "ticket": data["ticket"]},
        )
        for what, (deviation, _) in REGISTRATIONS.items()
    }

    errors = {what: refusal(answer) for what, answer in answers.items()}
    assert {what: (error["code"], error.get("reason")) for what, error in errors.items()} == _expected(
        REGISTRATIONS, "passkey_unfit"
    )
    assert {answer.status_code for answer in answers.values()} == {422}
    assert query("SELECT count(*) FROM passkeys") == [(0,)]
    body = {"credential": Authenticator().create(data["options"]), "ticket": data["ticket"]}
    assert user.call("POST", MINE, json=body).status_code == 201, "a refused answer does not use the challenge up"


def test_pk2_each_broken_assertion_is_rejected_and_opens_no_session(
    user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    data = begun(user.api.call("POST", f"{SIGN_IN}/options"))
    answers = {
        what: user.api.call(
            "POST",
            SIGN_IN,
            json={"credential": passkey.get(data["options"], deviation), "ticket": data["ticket"]},
        )
        for what, (deviation, _) in AUTHENTICATIONS.items()
    }

    assert {what: outcome(answer) for what, answer in answers.items()} == {
        what: (422, "validation_failed") if check == SHAPE else (401, "passkey_rejected")
        for what, (_, check) in AUTHENTICATIONS.items()
    }
    assert query("SELECT count(*) FROM sessions WHERE method = 'passkey'") == [(0,)]


@pytest.mark.parametrize("member", ["id", "rawId", "type", "response", "clientExtensionResults"])
def test_pk2_members_of_another_type_are_refused(user: PasskeyUser, member: str) -> None:
    data = user.begin()
    credential = Authenticator().create(data["options"]) | {member: 1}

    answer = user.call("POST", MINE, json={"credential": credential, "ticket": data["ticket"]})

    assert outcome(answer) == (422, "validation_failed")
    assert refusal(answer)["fields"][0]["field"] == f"credential.{member}"


def test_pk2_repeated_names_in_the_body_are_refused(user: PasskeyUser) -> None:
    data = user.begin()
    body = json.dumps({"credential": Authenticator().create(data["options"]), "ticket": data["ticket"]})

    answer = user.call(
        "POST",
        MINE,
        data=body.replace('{"credential"', '{"ticket": "x", "credential"'),
        content_type="application/json",
    )

    assert outcome(answer) == (400, "body_not_json")
