"""Field errors: each one of every endpoint has a documented, stable reason."""

import re
from typing import Any, get_args

import pytest
from flask import Flask
from pydantic_core.core_schema import ErrorType

from auth_service.api.http.field_errors import REASONS, SUFFIXES, reason_of_type
from auth_service.errors.fields import FieldReason
from auth_service.models import PORTAL_ADMIN
from auth_service.models.permission import Permission
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import Administration
from tests.support.application import MakeApp
from tests.support.documents import ERRORS
from tests.support.probes import Endpoint, Prober, endpoints, new_service_key

VALUES: list[Any] = [
    None, True, 5, 0, -1, 10**12, 7.5, [], {}, "", " ", "x", "x" * 2000, "a\0b", "-1", "0", "51", "1000", "\u0661",
    "ada lovelace@example.org", "\u0430da@example.org", "ada@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com",
]  # fmt: skip
"""Sent in each field of each endpoint."""

PASSWORDS = ["short", "x" * 200, "correct horse\u0007battery", "password1", "abcabcabcabc", ADA, PASSWORD]
"""Sent as new passwords; the last one is the current one."""

MALFORMED_FIELDS = {
    "",
    "name",
    "role_name",
    "role_id",
    "user_id",
    "permissions.0",
    "role",
    "provider",
    "reason",
    "until",
    "actor",
    "target",
}
"""The fields whose form a pattern describes, and the whole request."""

REASON_OF_VALUE = {reason.value: reason for reason in FieldReason}

Errors = set[tuple[str, FieldReason]]


@pytest.fixture
def unlimited(make_app: MakeApp) -> Flask:
    """The application without rate limits."""
    return make_app(rate_limits="off")


@pytest.fixture
def prober(unlimited: Flask, mailbox: Mailbox) -> Prober:
    """Ada, an administrator, is signed in; this sends requests in her name."""
    api = ApiClient(unlimited)
    user_id = api.register(ADA, mailbox, password=PASSWORD)
    Administration(unlimited, mailbox).grant(user_id, PORTAL_ADMIN)
    return Prober(
        app=unlimited,
        sign_in=lambda: str(api.signed_in(ADA, PASSWORD)["access_token"]),
        service_key=new_service_key(unlimited, "tokens:introspect", "sessions:verify", *Permission),
    )


def field_errors(answer: Any) -> Errors:
    """The field errors of an answer, each checked against the contract; none for another answer."""
    if answer.status_code != 422:
        return set()
    errors = refusal(answer)["fields"]
    assert errors
    for error in errors:
        assert re.fullmatch(r"(?s)\S.*\.", error["msg"]), error
    return {(error["field"], REASON_OF_VALUE[error["reason"]]) for error in errors}


def errors_of_fields(prober: Prober, endpoint: Endpoint) -> Errors:
    """The field errors of values in each field of an endpoint."""
    errors: Errors = set()
    for field in endpoint.fields:
        for value in VALUES:
            if not (endpoint.contract.query and not isinstance(value, str)):
                errors |= field_errors(prober.send_values(endpoint, {field: value}))
    return errors


def errors_of_shape(prober: Prober, endpoint: Endpoint) -> Errors:
    """The field errors of missing, unknown, repeated and unreadable fields and parameters."""
    errors: Errors = set()
    for query in (
        "surprise=1",
        "%ff",
        "a&a",
        "&".join(["a=1"] * 30),
        *(f"{name}=1&{name}=1" for name in endpoint.fields),
    ):
        errors |= field_errors(prober.send(endpoint, query_string=query))
    if not (endpoint.contract.body or endpoint.contract.query_or_body):
        return errors  # such an endpoint reads no body
    for body in ({}, {"surprise": 1}, {"a\0b": 1}, dict.fromkeys(["password", "code"], "750575")):
        errors |= field_errors(prober.send(endpoint, json=body))
    errors |= field_errors(prober.send(endpoint, query_string="code=7505", json={"code": 7505}))
    form = "application/x-www-form-urlencoded"
    for data in (b"token=1&token=1", b"%ff", b"a\xff"):
        errors |= field_errors(prober.send(endpoint, data=data, content_type=form))
    return errors


def password_errors(prober: Prober) -> Errors:
    """The field errors of new passwords."""
    api = ApiClient(prober.app)
    token = prober.sign_in()
    answers = (api.change_password(token, PASSWORD, new_password) for new_password in PASSWORDS)
    return set().union(*map(field_errors, answers))


@pytest.mark.slow
def test_every_field_error_of_every_endpoint_has_a_documented_reason(prober: Prober, unlimited: Flask) -> None:
    """The answers are checked one by one; together they have every reason, so none is documented in vain."""
    documented = ERRORS.read_text("utf-8")
    met = password_errors(prober)
    for endpoint in endpoints(unlimited):
        errors = errors_of_fields(prober, endpoint) | errors_of_shape(prober, endpoint)
        assert errors or endpoint.contract.ignores_query, endpoint
        assert {field for field, reason in errors if reason is FieldReason.MALFORMED} <= MALFORMED_FIELDS, endpoint
        for model in endpoint.models:
            for name, field in model.model_fields.items():
                assert not field.is_required() or (name, FieldReason.MISSING) in errors, (endpoint, name)
        met |= errors
    assert {reason for _, reason in met} == set(FieldReason)
    for reason in FieldReason:
        assert f"\n| `{reason}` | {reason.description} |" in documented


def test_the_document_lists_every_reason(unlimited: Flask) -> None:
    definitions = unlimited.test_client().get("/api/swagger.json").get_json()["definitions"]

    error = definitions["ValidationFailedResponse"]["properties"]["error"]["properties"]["fields"]["items"]
    assert error == {"$ref": "#/definitions/FieldErrorResponse"}
    assert definitions["FieldErrorResponse"]["required"] == ["field", "reason", "msg"]
    assert definitions["FieldErrorResponse"]["properties"]["reason"]["enum"] == [reason.value for reason in FieldReason]


def test_reasons_are_stable() -> None:
    """Clients translate them. Add a reason here; never remove or rename one."""
    assert {reason.value for reason in FieldReason} == {
        "missing", "unexpected", "repeated", "two_places", "exclusive", "malformed", "wrong_type", "too_short",
        "too_long", "too_small", "too_large", "unknown_value", "nul_character", "email_invalid", "email_has_spaces",
        "email_not_ascii", "email_has_joiners", "code_invalid", "cursor_invalid", "control_characters", "common",
        "guessable", "context", "unchanged",
    }  # fmt: skip


def test_every_error_type_of_pydantic_has_a_reason() -> None:
    types = set(get_args(ErrorType))

    assert REASONS.keys() <= types
    assert all(any(name.endswith(suffix) for name in types) for suffix in SUFFIXES)
    assert {name: reason_of_type(name) for name in ("string_type", "bool_parsing", "string_too_long", "date_past")} == {
        "string_type": FieldReason.WRONG_TYPE,
        "bool_parsing": FieldReason.WRONG_TYPE,
        "string_too_long": FieldReason.TOO_LONG,
        "date_past": FieldReason.MALFORMED,
    }


@pytest.mark.parametrize(
    ("path", "body", "errors"),
    [
        ("/sign_up", {}, {("email", "missing")}),
        ("/sign_up", {"email": "ada"}, {("email", "email_invalid")}),
        ("/sign_up", {"email": None}, {("email", "wrong_type")}),
        ("/sign_up", {"email": ADA, "roles": []}, {("roles", "unexpected")}),
        ("/sign_in", {"email": ADA, "password": "", "transport": "x"},
         {("password", "too_short"), ("transport", "unknown_value")}),
        ("/sign_in/code", {"email": "a b@example.org", "code": "12"},
         {("email", "email_has_spaces"), ("code", "code_invalid")}),
    ],
)  # fmt: skip
def test_the_reason_names_what_is_wrong(api: ApiClient, path: str, body: Any, errors: set[tuple[str, str]]) -> None:
    answer = api.call("POST", path, json=body)

    assert {(error["field"], error["reason"]) for error in refusal(answer)["fields"]} == errors


@pytest.mark.parametrize(
    ("query", "reason"),
    [("limit=0", "too_small"), ("limit=51", "too_large"), ("limit=1000", "too_large"), ("limit=x", "wrong_type"),
     ("cursor=x", "cursor_invalid"), ("limit=1&limit=1", "repeated"), ("page=1", "unexpected")],
)  # fmt: skip
def test_the_reason_names_what_is_wrong_with_a_parameter(token: str, api: ApiClient, query: str, reason: str) -> None:
    answer = api.with_token(token, "GET", f"/me/sessions?{query}")

    assert [(error["field"], error["reason"]) for error in refusal(answer)["fields"]] == [
        (query.partition("=")[0], reason)
    ]
