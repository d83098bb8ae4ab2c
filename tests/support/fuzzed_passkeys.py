"""Fuzzing of passkeys: for each operation a change of a generated request that makes it succeed."""

from collections.abc import Callable
from typing import Any

from requests.structures import CaseInsensitiveDict
from schemathesis import Case

from tests.support.actors import ApiClient
from tests.support.authenticator import Authenticator
from tests.support.fuzzed_users import signed_in_user
from tests.support.passkeys import REAUTHENTICATE, SECOND_STEP, SIGN_IN, PasskeyUser, begun
from tests.support.second_factor import enrolled


def _passkey_user(api: ApiClient, case: Case[Any]) -> PasskeyUser:
    email, tokens = signed_in_user(api)
    case.headers = CaseInsensitiveDict({"Authorization": f"Bearer {tokens['access_token']}"})
    return PasskeyUser(api, tokens["access_token"], email)


def _register_passkey(api: ApiClient, case: Case[Any]) -> None:
    data = _passkey_user(api, case).begin()
    case.body = {"credential": Authenticator().create(data["options"]), "ticket": data["ticket"]}


def _one_passkey(api: ApiClient, case: Case[Any]) -> None:
    _, added = _passkey_user(api, case).register()
    case.path_parameters = {"passkey_id": added["id"]}


def _rename_passkey(api: ApiClient, case: Case[Any]) -> None:
    _one_passkey(api, case)
    case.body = {"name": "Laptop"}


def _reauthenticate_with_passkey(api: ApiClient, case: Case[Any]) -> None:
    user = _passkey_user(api, case)
    authenticator, _ = user.register()
    data = user.begin(REAUTHENTICATE)
    case.body = {"credential": authenticator.get(data["options"]), "ticket": data["ticket"]}


def _sign_in_with_passkey(api: ApiClient, case: Case[Any]) -> None:
    authenticator, _ = _passkey_user(api, case).register()
    data = begun(api.call("POST", f"{SIGN_IN}/options"))
    case.headers, case.cookies = CaseInsensitiveDict(), {}
    case.body = {"credential": authenticator.get(data["options"]), "ticket": data["ticket"]}


def _ticket_of_first_step(api: ApiClient) -> tuple[str, Authenticator]:
    email, tokens = signed_in_user(api)
    authenticator, _ = PasskeyUser(api, tokens["access_token"], email).register()
    return enrolled(api, email, token=tokens["access_token"]).ticket(), authenticator


def _second_step_options(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"ticket": _ticket_of_first_step(api)[0]}


def _second_step_with_passkey(api: ApiClient, case: Case[Any]) -> None:
    ticket, authenticator = _ticket_of_first_step(api)
    data = begun(api.call("POST", f"{SECOND_STEP}/options", json={"ticket": ticket}))
    case.body = {"credential": authenticator.get(data["options"]), "ticket": data["ticket"]}


Operations = dict[str, tuple[Callable[[ApiClient, Case[Any]], None], set[int]]]
"""What makes a generated request succeed, and the statuses that have to be observed."""

OF_SIGN_IN: Operations = {
    "POST /v1/users/sign_in/passkey": (_sign_in_with_passkey, {200, 401, 422}),
    "POST /v1/users/sign_in/second_step/passkey/options": (_second_step_options, {200, 401, 422}),
    "POST /v1/users/sign_in/second_step/passkey": (_second_step_with_passkey, {200, 401, 422}),
}
OF_ACCOUNT: Operations = {
    "POST /v1/users/me/reauthenticate/passkey": (_reauthenticate_with_passkey, {200, 401, 422}),
    "POST /v1/users/me/passkeys": (_register_passkey, {201, 401, 422}),
}
UNLIMITED_OF_ACCOUNT: Operations = {
    "PATCH /v1/users/me/passkeys/{passkey_id}": (_rename_passkey, {200, 401, 404}),
    "DELETE /v1/users/me/passkeys/{passkey_id}": (_one_passkey, {200, 401, 404}),
}
