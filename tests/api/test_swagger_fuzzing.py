"""Fuzzing by the Swagger document: every response to a generated request conforms to it."""

import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from schemathesis import Case, GenerationMode

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.db import unit_of_work
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox
from tests.support.application import MakeApp
from tests.support.fuzzed_passkeys import OF_ACCOUNT, OF_SIGN_IN, UNLIMITED_OF_ACCOUNT
from tests.support.fuzzed_resets import OF_RESETS
from tests.support.fuzzed_users import CODE, NUMBERS, PASSWORD, registered_user, signed_in_user
from tests.support.fuzzing import CHECKS_OF_VALID, DOCUMENT, checks_of, is_administrative
from tests.support.second_factor import enrolled

COUNTED = {
    "limit_look_ups", "limit_sign_ups", "limit_guesses", "limit_code_requests", "limit_sign_ins", "limit_refreshes",
    "limit_second_steps", "limit_passkey_challenges",
}  # fmt: skip

_right_or_wrong = cycle([PASSWORD, PASSWORD, "not my password"])
_token_or_nothing = cycle(["token", "token", ""])
_valid_or_invalid = cycle(["{}@example.org", "{}@example.org", "{} is no address"])

Lucky = Callable[[ApiClient, Case[Any]], None]


@pytest.fixture
def document(app: Flask) -> Any:
    """The document that a client gets."""
    return app.test_client().get(DOCUMENT).json


def _look_up(api: ApiClient, case: Case[Any]) -> None:
    case.query = {"email": registered_user(api)}


def _sign_up(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"email": f"new{next(NUMBERS)}@example.org"}


def _id_of_a_user(api: ApiClient, case: Case[Any]) -> int:
    user_id: int = api.look_up(registered_user(api)).json["data"]["id"]  # type: ignore[index]
    case.path_parameters = {"user_id": user_id}
    return user_id


def _send_code(api: ApiClient, case: Case[Any]) -> None:
    _id_of_a_user(api, case)
    case.body = {"code": CODE}


def _confirm(api: ApiClient, case: Case[Any]) -> None:
    api.ask_for_code(_id_of_a_user(api, case), CODE)
    case.query, case.body = {}, {"code": str(CODE)}


def _finish(api: ApiClient, case: Case[Any]) -> None:
    user_id = _id_of_a_user(api, case)
    api.ask_for_code(user_id, CODE)
    api.confirm(user_id, CODE)


def emailed_code(api: ApiClient, path: str, email: str) -> str:
    """The code in the email that this endpoint sends to a user."""
    assert api.call("POST", path, json={"email": email}).status_code == 200
    with tempfile.TemporaryDirectory() as folder:
        messages = Mailbox(api.client.application, DevInbox(Path(folder))).letters_to(email)
    return next(message.code for message in messages if message.code and message.code != str(CODE))


def _sign_in(api: ApiClient, case: Case[Any]) -> None:
    email, _ = signed_in_user(api)
    case.body = {"email": email, "password": PASSWORD}


def _ask_for_code(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"email": registered_user(api)}


def _sign_in_by_code(api: ApiClient, case: Case[Any]) -> None:
    email, _ = signed_in_user(api)
    case.body = {"email": email, "code": emailed_code(api, "/sign_in/send_code", email)}


def _recover(api: ApiClient, case: Case[Any]) -> None:
    email, _ = signed_in_user(api)
    code = emailed_code(api, "/password/send_code", email)
    case.body = {"email": email, "code": code, "new_password": "another horse battery"}


def _refresh(api: ApiClient, case: Case[Any]) -> None:
    # Every third token is empty. Hypothesis draws constants of the source, so any edit changes what it generates.
    case.body = {"refresh_token": next(_token_or_nothing) and signed_in_user(api)[1]["refresh_token"]}


def _with_token(api: ApiClient, case: Case[Any]) -> None:
    case.headers = CaseInsensitiveDict({"Authorization": f"Bearer {signed_in_user(api)[1]['access_token']}"})


def _one_session(api: ApiClient, case: Case[Any]) -> None:
    token = signed_in_user(api)[1]["access_token"]
    case.headers = CaseInsensitiveDict({"Authorization": f"Bearer {token}"})
    mine = api.with_token(token, "GET", "/me/sessions").get_json()["data"]
    case.path_parameters = {"session_id": mine[0]["id"]}


def _introspect(api: ApiClient, case: Case[Any]) -> None:
    app = api.client.application
    services: Services = app.extensions["auth_service"]
    with app.app_context(), unit_of_work():
        key = services.service_keys.create(
            name=f"shop-{next(NUMBERS)}", scopes=["tokens:introspect"], ttl=timedelta(days=1)
        )
    case.headers = CaseInsensitiveDict({"Authorization": f"Bearer {key.value}"})
    if isinstance(case.body, dict) and "token" in case.body:
        case.body = {"token": signed_in_user(api)[1]["access_token"]}


def _change_password(api: ApiClient, case: Case[Any]) -> None:
    # Every third current password is wrong: generated requests seldom combine that with a valid new password.
    case.body = {"current_password": next(_right_or_wrong), "new_password": f"{PASSWORD} again"}


def _choose_language(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"language": "ru"}


def _request_email_change(api: ApiClient, case: Case[Any]) -> None:
    # Every third address is invalid: generated requests seldom combine that with an otherwise valid body.
    case.body = {"email": next(_valid_or_invalid).format(f"wanted{next(NUMBERS)}"), "password": PASSWORD}


def _confirm_email_change(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"code": CODE}


def _delete_account(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"password": PASSWORD}


def _use_link(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"token": "a link that was used"}


def _revoke_token(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"token": "a token that was revoked"}


def _second_step(api: ApiClient, case: Case[Any]) -> None:
    email, tokens = signed_in_user(api)
    user = enrolled(api, email, token=tokens["access_token"])
    case.body = {"ticket": user.ticket(), "totp": user.next_code()}


def _as_generated(api: ApiClient, case: Case[Any]) -> None:
    """Every valid request succeeds."""


REGISTRATION: dict[str, tuple[Lucky, set[int]]] = {
    "GET /v1/users": (_look_up, {200, 404, 422}),
    "POST /v1/users/sign_up": (_sign_up, {201, 422}),
    "POST /v1/users/{user_id}/send_code": (_send_code, {200, 404, 422}),
    "POST /v1/users/{user_id}/resend_code": (_send_code, {200, 404, 422}),
    "PUT /v1/users/{user_id}/mail": (_confirm, {200, 404, 422}),
    "PATCH /v1/users/{user_id}/sign_up": (_finish, {200, 404, 422}),
}
"""For each operation: what makes a request succeed, and the statuses that the fuzzer has to observe."""

SIGN_IN: dict[str, tuple[Lucky, set[int]]] = {
    "POST /v1/users/sign_in": (_sign_in, {200, 401, 422}),
    "POST /v1/users/sign_in/send_code": (_ask_for_code, {200, 422}),
    "POST /v1/users/sign_in/code": (_sign_in_by_code, {200, 422}),
    "POST /v1/users/refresh_token": (_refresh, {200, 401, 422}),
    "POST /v1/users/password/send_code": (_ask_for_code, {200, 422}),
    "PUT /v1/users/password": (_recover, {200, 422}),
    "POST /v1/users/sign_in/second_step": (_second_step, {200, 401, 422}),
    **OF_RESETS,
    "POST /v1/users/sign_in/passkey/options": (_as_generated, {200}),
    **OF_SIGN_IN,
    "POST /v1/users/undo": (_use_link, {404, 422}),
    "POST /v1/users/invitation": (_use_link, {404, 422}),
    "POST /v1/users/invitation/accept": (_use_link, {404, 422}),
    "POST /v1/tokens/revoke": (_revoke_token, {200, 422}),
}

ACCOUNT: dict[str, tuple[Lucky, set[int]]] = {
    "PUT /v1/users/me/password": (_change_password, {200, 401, 403, 422}),
    "POST /v1/users/me/email": (_request_email_change, {200, 401, 403, 422}),
    "PUT /v1/users/me/email": (_confirm_email_change, {401, 404, 422}),
    "PATCH /v1/users/me": (_choose_language, {200, 401, 422}),
    "DELETE /v1/users/me": (_delete_account, {200, 401, 403, 422}),
    "POST /v1/users/me/send_code": (_with_token, {200, 401}),
    "POST /v1/users/me/passkeys/options": (_with_token, {200, 401}),
    "POST /v1/users/me/reauthenticate/passkey/options": (_with_token, {200, 401}),
    **OF_ACCOUNT,
    "GET /v1/users/me/export": (_with_token, {200, 401}),
}
"""Operations of a signed-in user. Most generated requests carry a valid access token, too."""

UNLIMITED: dict[str, tuple[Lucky, set[int]]] = {
    "POST /v1/users/sign_out": (_with_token, {200, 401}),
    "POST /v1/users/sign_out/everywhere": (_with_token, {200, 401}),
    "GET /v1/users/me": (_with_token, {200, 401}),
    "GET /v1/users/me/sessions": (_with_token, {200, 401, 422}),
    "DELETE /v1/users/me/sessions": (_with_token, {200, 401}),
    "GET /v1/users/me/login_history": (_with_token, {200, 401, 422}),
    "DELETE /v1/users/me/sessions/{session_id}": (_one_session, {200, 404}),
    "GET /v1/users/me/passkeys": (_with_token, {200, 401}),
    **UNLIMITED_OF_ACCOUNT,
    "POST /v1/tokens/introspect": (_introspect, {200, 401, 422}),
    "GET /v1/sessions/verify": (_with_token, {200, 401}),
    "GET /v1/errors": (_as_generated, {200}),
}
"""Operations without a rate limit per network."""

COUNTED_BY_USER = {"POST /v1/users/me/reauthenticate/passkey"}
"""Their rate limit counts the requests of one user; the fuzzer signs in a new user for each request."""

COUNTED_BY_NETWORK = (REGISTRATION | SIGN_IN | ACCOUNT).keys() - COUNTED_BY_USER
OPERATIONS = REGISTRATION | SIGN_IN | ACCOUNT | UNLIMITED


def fuzzed(app: Flask, label: str, *, before: Flask, examples: int) -> Counter[int]:
    """Send valid and invalid requests generated from the document; return the observed statuses.

    The application `before` prepares the state in which a request succeeds.
    """
    operation: Any = schemathesis.openapi.from_wsgi(DOCUMENT, app).find_operation_by_label(label)
    good, bad = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    lucky, _ = OPERATIONS[label]
    met: Counter[int] = Counter()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=good | bad,
        is_lucky=st.sampled_from([True, False, False]),
        is_signed_in=st.sampled_from([True, True, True, False]),
    )
    def answers_are_documented(case: Case[Any], is_lucky: bool, is_signed_in: bool) -> None:
        if label in ACCOUNT and is_signed_in:
            _with_token(ApiClient(before), case)
        if is_lucky:
            lucky(ApiClient(before), case)
        answer = case.call()
        met[answer.status_code] += 1
        # A lucky request is valid, whatever it was generated as.
        case.validate_response(answer, checks=CHECKS_OF_VALID if is_lucky else checks_of(answer.status_code))

    answers_are_documented()
    return met


def test_every_operation_is_fuzzed(document: Any) -> None:
    paths = {path: methods for path, methods in document["paths"].items() if not is_administrative(path)}
    labels = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}

    assert {label for label in labels if not label.startswith("PARAMETERS")} == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "examples",
    [pytest.param(25, id="short"), pytest.param(200, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])],
)
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_response_conforms_to_the_document(make_app: MakeApp, label: str, examples: int) -> None:
    unlimited = make_app(rate_limits="off")

    met = fuzzed(unlimited, label, before=unlimited, examples=examples)
    if not met.keys() >= OPERATIONS[label][1]:  # every change of the document changes what is generated
        met = fuzzed(unlimited, label, before=unlimited, examples=6 * examples)

    assert met.keys() >= OPERATIONS[label][1]


ONE_OF_EACH = {"POST /v1/users/sign_up", "POST /v1/users/sign_in", "PUT /v1/users/me/password"}
"""The first tier tests one operation of each group; the document of all of them has one source, their contracts."""


@pytest.mark.parametrize(
    "label",
    [
        label if label in ONE_OF_EACH else pytest.param(label, marks=pytest.mark.slow)
        for label in sorted(COUNTED_BY_NETWORK)
    ],
)
def test_rate_limit_errors_are_documented(make_app: MakeApp, label: str) -> None:
    limited = make_app(**dict.fromkeys(COUNTED, "3/1m"))

    met = fuzzed(limited, label, before=make_app(rate_limits="off"), examples=12)

    assert met[429] > 0
