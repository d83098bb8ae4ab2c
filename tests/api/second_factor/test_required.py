"""Required second factors: restricted sessions of the roles in SECOND_FACTOR_ROLES."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import AdminClient, Administration
from tests.support.contracts import contracts
from tests.support.second_factor import TOTP, app_of, begin, enrolled
from tests.support.stores import Query

UUID = "00000000-0000-4000-8000-000000000000"
PLACE = {"user_id": "4711", "role_name": "ROLE_UNKNOWN", "name": "ROLE_UNKNOWN"}
REACHED = {
    "GET /api/v1/users/me",
    "POST /api/v1/users/sign_out",
    "POST /api/v1/users/sign_out/everywhere",
    "POST /api/v1/users/me/reauthenticate",
    "POST /api/v1/users/me/reauthenticate/send_code",
    "POST /api/v1/users/me/reauthenticate/passkey/options",
    "POST /api/v1/users/me/reauthenticate/passkey",
    "POST /api/v1/users/me/passkeys/options",
    "POST /api/v1/users/me/passkeys",
    "GET /api/v1/users/me/second_factor",
    "POST /api/v1/users/me/second_factor/totp",
    "PUT /api/v1/users/me/second_factor/totp",
}
"""The endpoints for signed-in users that a restricted session reaches."""


@pytest.fixture
def strict(make_app: Callable[..., Flask]) -> Flask:
    """An application in which administrators need a second factor."""
    return make_app(second_factor_roles="ROLE_PORTAL_ADMIN")


@pytest.fixture
def administration(strict: Flask, tmp_path_factory: pytest.TempPathFactory) -> Administration:
    return Administration(strict, Mailbox(strict, DevInbox(tmp_path_factory.mktemp("inbox"))))


def token_of(client: AdminClient) -> str:
    return client.headers["Authorization"].removeprefix("Bearer ")


def test_sf9_a_restricted_session_reaches_only_the_marked_endpoints(
    strict: Flask, administration: Administration
) -> None:
    restricted = administration.administrator(ADA)
    reached = set()
    for method, rule, contract in contracts(strict):
        # Signing out comes last: it would end the session.
        if contract is None or not contract.access.needs_token or "sign_out" in rule:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: PLACE.get(match[1], UUID), rule)
        answer = restricted.call(method, path.removeprefix("/api/v1"))
        code = (answer.get_json().get("error") or {}).get("code")
        if code == "second_factor_enrolment_required":
            assert answer.status_code == 403
        else:
            reached.add(f"{method} {rule}")

    marked = {f"{method} {rule}" for method, rule, contract in contracts(strict) if contract and is_marked(contract)}
    assert reached == marked == {each for each in REACHED if "sign_out" not in each}
    assert restricted.call("POST", "/users/sign_out").status_code == 200


def is_marked(contract: object) -> bool:
    name: str = contract.access.name  # type: ignore[attr-defined]
    return "restricted" in name


def test_sf9_the_enrolment_lifts_the_restriction(administration: Administration, strict: Flask, query: Query) -> None:
    admin = administration.administrator(ADA)
    assert admin.error("GET", "/roles") == (403, "second_factor_enrolment_required")

    user = enrolled(ApiClient(strict), ADA, query, token=token_of(admin))

    assert AdminClient(strict, {"Authorization": f"Bearer {user.access_token}"}).data("GET", "/roles")
    status = user.call("GET", "/me/second_factor").get_json()["data"]
    assert (status["required"], status["totp"]["on"]) == (True, True)
    removed = user.call("DELETE", TOTP)
    assert (removed.status_code, refusal(removed)["code"]) == (409, "second_factor_needed")


def test_sf9_the_enrolment_of_the_first_factor_needs_a_recent_sign_in_only(
    administration: Administration, strict: Flask
) -> None:
    admin = administration.administrator(ADA)
    api, token = ApiClient(strict), token_of(admin)
    administration.age_session(admin.user_id or 0, 601)
    late = api.with_token(token, "POST", TOTP)
    assert (late.status_code, refusal(late)["acr_values"]) == (401, "aal1")

    again = api.with_token(token, "POST", "/me/reauthenticate", json={"password": PASSWORD})

    token = again.get_json()["data"]["access_token"]
    code = app_of(begin(api, token)).now()
    assert api.with_token(token, "PUT", TOTP, json={"totp": code}).status_code == 200


def test_sf9_a_granted_role_restricts_at_the_next_request(administration: Administration, strict: Flask) -> None:
    user = administration.user(ADA)
    assert user.call("GET", "/users/me/sessions").status_code == 200

    administration.grant(user.user_id or 0, "ROLE_PORTAL_ADMIN")

    assert user.error("GET", "/users/me/sessions") == (403, "second_factor_enrolment_required")


def test_sf9_a_session_without_the_existing_factor_is_asked_for_it(
    administration: Administration, strict: Flask, query: Query
) -> None:
    user = administration.user(ADA)
    protected = enrolled(ApiClient(strict), ADA, query, token=token_of(user))
    trusted = protected.second_step(protected.ticket(), totp=protected.unused_code(), trust_device=True)
    assert trusted.status_code == 200
    weak = protected.first_step().get_json()["data"]["access_token"]
    administration.grant(user.user_id or 0, "ROLE_PORTAL_ADMIN")

    answer = ApiClient(strict).with_token(weak, "GET", "/me/sessions")

    error = refusal(answer)
    assert (answer.status_code, error["code"]) == (401, "insufficient_user_authentication")
    assert (error["acr_values"], error["methods"]) == ("aal2", ["password", "code", "totp", "recovery_code"])
    assert refusal(protected.first_step())["code"] == "second_factor_required", "the trust is not accepted any more"


def test_sf9_a_reset_restricts_a_role_holder_again(administration: Administration, strict: Flask, query: Query) -> None:
    admin, other = administration.administrator("root@example.org"), administration.administrator(ADA)
    boss = enrolled(ApiClient(strict), "root@example.org", query, token=token_of(admin))
    protected = enrolled(ApiClient(strict), ADA, query, token=token_of(other))
    client = AdminClient(strict, {"Authorization": f"Bearer {boss.access_token}"})

    client.data("POST", f"/admin/users/{other.user_id}/reset_second_factor", json={"reason": "lost phone"})

    assert not protected.api.is_signed_in(protected.access_token)
    token = protected.api.signed_in(ADA, PASSWORD)["access_token"]
    answer = protected.api.with_token(token, "GET", "/me/sessions")
    assert refusal(answer)["code"] == "second_factor_enrolment_required"
