"""One login throttle for the password of an account on every path (PW12), and the expiry of a finished registration."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.api.contract.json_schemas import NEW_PASSWORD
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.contracts import contracts
from tests.support.races import outcome
from tests.support.stores import Query

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[2] / "src" / "auth_service"
WRONG = "a wrong password"
OWNER, ATTACKER = "203.0.113.7", "198.51.100.9"

Endpoint = tuple[str, str]
Attempt = Callable[[ApiClient, int, str], TestResponse]
"""A wrong password at one endpoint: by a client that has the flow ticket, the user id and an access token."""

ATTEMPTS: dict[Endpoint, Attempt] = {
    ("POST", "/sign_in"): lambda api, _, __: api.sign_in(ADA, WRONG),
    ("PATCH", "/<user_id:user_id>/sign_up"): lambda api, ada, _: api.finish(ada, password=WRONG),
    ("PUT", "/me/password"): lambda api, _, token: api.change_password(token, WRONG, "another horse battery"),
    ("POST", "/me/email"): lambda api, _, token: api.ask_to_move(token, "new@example.org", password=WRONG),
    ("POST", "/me/reauthenticate"): lambda api, _, token: api.with_token(
        token, "POST", "/me/reauthenticate", json={"password": WRONG}
    ),
    ("DELETE", "/me"): lambda api, _, token: api.leave(token, password=WRONG),
}
FREE_ATTEMPTS = 5
"""`SIGN_IN_FREE_ATTEMPTS`: the next attempt has to wait."""

SETS_ONLY = {("PUT", "/password"), ("POST", "/invitation/accept")}
"""Endpoints that set a password and verify none: their codes and tokens have attempts of their own."""


def password_fields(app: Flask) -> dict[Endpoint, list[str]]:
    """The endpoints whose request has a field for a password, with the fields that are not only for a new one."""
    found = {}
    for method, rule, contract in contracts(app):
        models = [
            model for model in (contract and (contract.body, contract.query, contract.query_or_body)) or () if model
        ]
        fields = {name: schema for model in models for name, schema in model.model_json_schema()["properties"].items()}
        if passwords := {name: schema for name, schema in fields.items() if "password" in name or "secret" in name}:
            endpoint = (method, rule.removeprefix("/api/v1/users"))
            found[endpoint] = [name for name, schema in passwords.items() if NEW_PASSWORD not in str(schema)]
    return found


@pytest.fixture
def stolen(api: ApiClient, app: Flask, mailbox: Mailbox) -> tuple[ApiClient, int, str]:
    """A client of an attacker with everything of the owner but the password: flow ticket, user id, access token."""
    ada = api.register(ADA, mailbox, password=PASSWORD)
    ticket = api.client.get_cookie("registration")
    assert ticket is not None
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    attacker = ApiClient(app, address=ATTACKER)
    attacker.client.set_cookie("registration", ticket.value)
    return attacker, ada, token


def test_pw12_every_endpoint_that_takes_a_password_is_in_this_test(app: Flask) -> None:
    fields = password_fields(app)

    assert fields.keys() == ATTEMPTS.keys() | SETS_ONLY
    assert {endpoint for endpoint in fields if not fields[endpoint]} <= SETS_ONLY | {
        ("PATCH", "/<user_id:user_id>/sign_up")  # sets the password, and verifies it when the request is repeated
    }


def test_pw12_one_function_verifies_passwords() -> None:
    users = [path.name for path in SOURCE.rglob("*.py") if "throttle.attempt(" in path.read_text("utf-8")]
    verifiers = [path.name for path in SOURCE.rglob("*.py") if "hasher.verify(" in path.read_text("utf-8")]

    assert (users, verifiers) == (["passwords.py"], ["passwords.py"])


@pytest.mark.parametrize("first", ATTEMPTS, ids=" ".join)
def test_pw12_failed_attempts_at_one_endpoint_throttle_all_of_them(
    stolen: tuple[ApiClient, int, str], lasting_pauses: Callable[[], None], first: Endpoint
) -> None:
    failed = [outcome(ATTEMPTS[first](*stolen)) for _ in range(5)]
    lasting_pauses()

    assert all(code in ("credentials_rejected", "password_wrong", "password_already_set") for _, code in failed), failed
    throttled = {endpoint: outcome(attempt(*stolen)) for endpoint, attempt in ATTEMPTS.items()}
    assert throttled == dict.fromkeys(ATTEMPTS, (429, "too_many_attempts"))


def test_pw12_attempts_at_different_endpoints_add_up(
    stolen: tuple[ApiClient, int, str], lasting_pauses: Callable[[], None]
) -> None:
    failed = [outcome(attempt(*stolen)) for attempt in islice(ATTEMPTS.values(), FREE_ATTEMPTS)]
    lasting_pauses()

    assert all(status in (401, 403, 409) for status, _ in failed), failed
    assert outcome(stolen[0].sign_in(ADA, PASSWORD)) == (429, "too_many_attempts"), "the right password waits too"


def test_b6_an_attacker_cannot_lock_the_owner_out_of_any_path(
    stolen: tuple[ApiClient, int, str], api: ApiClient, app: Flask, lasting_pauses: Callable[[], None]
) -> None:
    """On a known device, and on an unknown one in a network that has not failed."""
    attacker, ada, token = stolen
    for _ in range(6):
        attacker.sign_in(ADA, WRONG)
        lasting_pauses()

    other_device = ApiClient(app, address="192.0.2.200")
    for client in (api, other_device):
        assert client.ask_to_move(token, f"{id(client)}@example.org", password=PASSWORD).status_code == 200
        assert client.sign_in(ADA, PASSWORD).status_code == 200
    assert api.finish(ada, password=PASSWORD).status_code == 200
    assert outcome(other_device.change_password(token, PASSWORD, "another horse battery")) == (200, "")
    assert outcome(attacker.sign_in(ADA, "another horse battery")) == (429, "too_many_attempts")


def test_pw12_a_known_device_has_one_count_for_all_paths(
    stolen: tuple[ApiClient, int, str], api: ApiClient, app: Flask, lasting_pauses: Callable[[], None]
) -> None:
    _, ada, token = stolen
    for attempt in islice(ATTEMPTS.values(), FREE_ATTEMPTS):
        assert attempt(api, ada, token).status_code != 429
    lasting_pauses()

    assert {outcome(attempt(api, ada, token)) for attempt in ATTEMPTS.values()} == {(429, "too_many_attempts")}
    assert ApiClient(app).sign_in(ADA, PASSWORD).status_code == 200, "other devices of the owner do not wait"


def test_b6_reserved_attempts_are_a_setting(
    stolen: tuple[ApiClient, int, str], make_app: MakeApp, lasting_pauses: Callable[[], None]
) -> None:
    app = make_app(sign_in_reserved_attempts=2)
    for _ in range(5):
        ApiClient(app, address=ATTACKER).sign_in(ADA, WRONG)
    lasting_pauses()

    codes = [refusal(ApiClient(app, address=f"192.0.2.{n}").sign_in(ADA, WRONG))["code"] for n in range(4)]

    assert codes == ["credentials_rejected"] * 2 + ["too_many_attempts"] * 2


def test_pw12_a_repeated_finish_with_wrong_passwords_is_throttled_and_recorded(
    stolen: tuple[ApiClient, int, str], query: Query, lasting_pauses: Callable[[], None]
) -> None:
    attacker, ada, _ = stolen
    outcomes = [outcome(attacker.finish(ada, password=f"{WRONG} {number}")) for number in range(5)]
    lasting_pauses()
    outcomes += [outcome(attacker.finish(ada, password=f"{WRONG} {number}")) for number in range(5, 7)]

    assert outcomes == [(409, "password_already_set")] * 5 + [(429, "too_many_attempts")] * 2
    assert query("SELECT DISTINCT kind, user_id FROM events WHERE outcome = 'failure'") == [("password_refused", ada)]
    assert attacker.finish(ada).status_code == 200, "without a password there is nothing to guess"


@pytest.mark.parametrize("minutes", [59, 61])
def test_b7_the_ticket_of_a_finished_registration_expires_after_an_hour(
    api: ApiClient, mailbox: Mailbox, query: Query, minutes: int
) -> None:
    ada = api.register(ADA, mailbox, password=PASSWORD)
    query("UPDATE users SET verified_at = now() - %s * interval '1 minute'", minutes)
    bodies: list[dict[str, Any]] = [{}, {"password": PASSWORD}, {"password": WRONG}]

    outcomes = [outcome(api.finish(ada, **body)) for body in bodies]

    if minutes < 60:
        assert outcomes == [(200, ""), (200, ""), (409, "password_already_set")]
    else:
        assert outcomes == [(409, "mail_not_confirmed")] * 3
        assert query("SELECT count(*) FROM events WHERE outcome = 'failure'") == [(0,)], "no password was verified"
