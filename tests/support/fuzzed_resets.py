"""Fuzzing of delayed resets: for each operation a change of a generated request that makes it succeed."""

import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

from schemathesis import Case

from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.actors import ApiClient, Mailbox
from tests.support.delayed_reset import RESET
from tests.support.fuzzed_passkeys import Operations
from tests.support.fuzzed_users import signed_in_user
from tests.support.second_factor import enrolled

_has_code = cycle([True, False])


def _request_reset(api: ApiClient, case: Case[Any]) -> None:
    email, tokens = signed_in_user(api)
    body: dict[str, Any] = {"ticket": enrolled(api, email, token=tokens["access_token"]).ticket()}
    if next(_has_code):
        assert api.call("POST", RESET, json=body).status_code == 200
        with tempfile.TemporaryDirectory() as folder:
            body["code"] = Mailbox(api.client.application, DevInbox(Path(folder))).code_sent_to(email)
    case.body = body


def _use_link(api: ApiClient, case: Case[Any]) -> None:
    case.body = {"token": "a link that was used"}


OF_RESETS: Operations = {
    "POST /v1/users/sign_in/second_step/reset": (_request_reset, {200, 401, 422}),
    "POST /v1/users/sign_in/second_step/reset/cancel": (_use_link, {404, 422}),
}
