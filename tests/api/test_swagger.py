"""The document at /api/swagger.json: it is valid, it says everything, and no answer lies outside it."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask_restx.schemas import validate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from auth_service.api.contract import Contract
from auth_service.api.envelope import status_of
from tests.actors import Visitor
from tests.conftest import MakeApp

DOCUMENT = "/api/swagger.json"
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
CODE = 7505

_numbers = count()


@pytest.fixture
def document(app: Flask) -> Any:
    """The document as a client reads it."""
    return app.test_client().get(DOCUMENT).json


def operations(app: Flask) -> Iterator[tuple[str, str, Contract]]:
    """Path in the document, method and contract of every endpoint."""
    for rule in app.url_map.iter_rules():
        resource = getattr(app.view_functions[rule.endpoint], "view_class", None)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            contract = getattr(getattr(resource, method.lower(), None), "contract", None)
            if contract:
                path = re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule.removeprefix("/api"))
                yield path, method.lower(), contract


def test_the_document_is_swagger(document: Any) -> None:
    validate(document)
    named = [operation["operationId"] for path in document["paths"].values() for operation in _of(path)]
    assert len(named) == len(set(named))


def _of(path: Any) -> list[Any]:
    return [operation for method, operation in path.items() if method != "parameters"]


def test_every_operation_says_all_that_its_contract_says(app: Flask, document: Any) -> None:
    found = list(operations(app))
    assert len(found) == sum(len(_of(path)) for path in document["paths"].values())
    for path, method, contract in found:
        said = document["paths"][path][method]
        assert said["summary"]
        assert contract.access.sentence in said["description"]
        statuses = {status_of(kind) for kind in contract.all_refusals()}
        assert {int(status) for status in said["responses"]} == {contract.status, *statuses}
        for kind in contract.all_refusals():
            assert f"- `{kind.code()}`: {kind.sentence()}" in said["responses"][str(status_of(kind))]["description"]


# What makes a made-up request one that somebody would really send, so that those are answered, too.

Lucky = Callable[[Visitor, Case[Any]], None]


def somebody(visitor: Visitor) -> str:
    """The address of a new temporary user."""
    email = f"user{next(_numbers)}@example.org"
    visitor.sign_up(email)
    return email


def _look_up(visitor: Visitor, case: Case[Any]) -> None:
    case.query = {"email": somebody(visitor)}


def _sign_up(visitor: Visitor, case: Case[Any]) -> None:
    case.body = {"email": f"new{next(_numbers)}@example.org"}


def _of_somebody(visitor: Visitor, case: Case[Any]) -> int:
    user_id: int = visitor.look_up(somebody(visitor)).json["data"]["id"]  # type: ignore[index]
    case.path_parameters = {"user_id": user_id}
    return user_id


def _send_code(visitor: Visitor, case: Case[Any]) -> None:
    _of_somebody(visitor, case)
    case.body = {"code": CODE}


def _confirm(visitor: Visitor, case: Case[Any]) -> None:
    visitor.ask_for_code(_of_somebody(visitor, case), CODE)
    case.query, case.body = {}, {"code": str(CODE)}


def _finish(visitor: Visitor, case: Case[Any]) -> None:
    user_id = _of_somebody(visitor, case)
    visitor.ask_for_code(user_id, CODE)
    visitor.confirm(user_id, CODE)


PASSWORD = "correct horse battery"


def _sign_in(visitor: Visitor, case: Case[Any]) -> None:
    """Let a new user of the portal send the request."""
    email = f"portal{next(_numbers)}@example.org"
    user_id = visitor.sign_up(email)
    visitor.ask_for_code(user_id, CODE)
    visitor.confirm(user_id, CODE)
    visitor.finish(user_id, password=PASSWORD)
    case.headers = {"Authorization": f"Bearer {visitor.signed_in(email, PASSWORD)['access_token']}"}


def _change_password(visitor: Visitor, case: Case[Any]) -> None:
    case.body = {"current_password": PASSWORD, "new_password": f"{PASSWORD} again"}


def _want_address(visitor: Visitor, case: Case[Any]) -> None:
    case.body = {"email": f"wanted{next(_numbers)}@example.org", "password": PASSWORD}


def _bring_code(visitor: Visitor, case: Case[Any]) -> None:
    case.body = {"code": CODE}


def _leave(visitor: Visitor, case: Case[Any]) -> None:
    case.body = {"password": PASSWORD}


OPERATIONS: dict[str, tuple[Lucky, set[int]]] = {
    "GET /v1/users": (_look_up, {200, 404, 422}),
    "POST /v1/users/sign_up": (_sign_up, {201, 422}),
    "POST /v1/users/{user_id}/send_code": (_send_code, {200, 404, 422}),
    "POST /v1/users/{user_id}/resend_code": (_send_code, {200, 404, 422}),
    "PUT /v1/users/{user_id}/mail": (_confirm, {200, 404, 422}),
    "PATCH /v1/users/{user_id}/sign_up": (_finish, {200, 404, 422}),
    "PUT /v1/users/me/password": (_change_password, {200, 401, 403, 422}),
    "POST /v1/users/me/email": (_want_address, {200, 401, 403, 422}),
    "PUT /v1/users/me/email": (_bring_code, {401, 404, 422}),
    "DELETE /v1/users/me": (_leave, {200, 401, 403, 422}),
}
"""How each operation succeeds, and the statuses that the fuzzer has to meet, or it shows nothing."""

SIGNED_IN = {label for label in OPERATIONS if "/me" in label}


def fuzzed(app: Flask, label: str, *, before: Flask, examples: int) -> Counter[int]:
    """Send requests made from the document, good ones and bad ones; returns the statuses that were met.

    What has to happen before a request may succeed happens through `before`.
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
        if label in SIGNED_IN and is_signed_in:
            _sign_in(Visitor(before), case)
        if is_lucky:
            lucky(Visitor(before), case)
        answer = case.call()
        met[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    answers_are_documented()
    return met


@pytest.mark.parametrize("label", OPERATIONS)
def test_no_answer_lies_outside_the_document(make_app: MakeApp, label: str) -> None:
    unlimited = make_app(rate_limits="off")

    met = fuzzed(unlimited, label, before=unlimited, examples=80)

    assert met.keys() >= OPERATIONS[label][1]


@pytest.mark.parametrize("label", OPERATIONS)
def test_refusing_too_many_requests_is_documented(make_app: MakeApp, label: str) -> None:
    limits = ("limit_look_ups", "limit_sign_ups", "limit_guesses", "limit_code_requests", "limit_sign_ins")
    limited = make_app(**dict.fromkeys(limits, "3/1m"))

    met = fuzzed(limited, label, before=make_app(rate_limits="off"), examples=12)

    assert met[429] > 0
