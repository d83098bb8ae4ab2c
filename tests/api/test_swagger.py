"""Swagger document at /api/swagger.json: it is valid, and every operation documents its whole contract."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask_restx.schemas import validate

from auth_service.api.contract.contract import Contract
from auth_service.api.http.responses import status_of
from auth_service.errors import CrossSite, ServiceError
from tests.support.application import MakeApp
from tests.support.fuzzing import DOCUMENT


@pytest.fixture
def document(app: Flask) -> Any:
    """The document that a client gets."""
    return app.test_client().get(DOCUMENT).json


def operations(app: Flask) -> Iterator[tuple[str, str, Contract]]:
    """Path in the document, method and contract of every endpoint."""
    for rule in app.url_map.iter_rules():
        resource = getattr(app.view_functions[rule.endpoint], "view_class", None)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            contract = getattr(getattr(resource, method.lower(), None), "contract", None)
            if contract and not rule.rule.endswith("/"):  # the same operation under a second path
                path = re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule.removeprefix("/api"))
                yield path, method.lower(), contract


def test_the_document_is_valid_swagger(document: Any) -> None:
    validate(document)
    named = [operation["operationId"] for path in document["paths"].values() for operation in _of(path)]
    assert len(named) == len(set(named))


def test_the_registration_paths_are_in_the_order_of_their_use(document: Any) -> None:
    steps = ["", "/sign_up", "/{user_id}/send_code", "/{user_id}/resend_code", "/{user_id}/mail", "/{user_id}/sign_up"]

    assert list(document["paths"])[:6] == [f"/v1/users{step}" for step in steps]


def _of(path: Any) -> list[Any]:
    return [operation for method, operation in path.items() if method != "parameters"]


def test_every_operation_documents_its_whole_contract(app: Flask, document: Any) -> None:
    endpoints = list(operations(app))
    assert len(endpoints) == sum(len(_of(path)) for path in document["paths"].values())
    for path, method, contract in endpoints:
        operation = document["paths"][path][method]
        assert operation["summary"] == contract.summary
        assert operation["description"] == f"{contract.access.sentence}\n{contract.description}".strip()
        keys = {name for requirement in operation.get("security", []) for name in requirement}
        assert keys <= document["securityDefinitions"].keys()
        needed = contract.access.takes_service_key and not contract.access.is_open
        assert ("bearer" in keys, "service" in keys) == (contract.access.needs_token, needed)
        assert operation["operationId"] == contract.operation
        expected_headers = {*contract.headers, "X-Request-Id", "Vary"}
        if contract.sets_cookies:
            expected_headers.add("Set-Cookie")
        if any(variant.streams for variant in contract.variants):
            expected_headers |= {"Content-Disposition", "Link"}
        assert operation["responses"][str(contract.status)]["headers"].keys() == expected_headers
        statuses = {status_of(kind) for kind in contract.all_errors()}
        successes = {variant.status for variant in contract.variants}
        assert {int(status) for status in operation["responses"]} == {*successes, *statuses}
        for status, response in operation["responses"].items():
            example = response.get("examples", {}).get("application/json", {"error": None})
            codes = {kind.code for kind in contract.all_errors() if status_of(kind) == int(status)}
            assert (example["error"]["code"] in codes) if codes else (example["error"] is None)
        for kind in contract.all_errors():
            assert f"- `{kind.code}`: {kind.message}" in operation["responses"][str(status_of(kind))]["description"]


def headers_of(operation: Any) -> set[str]:
    """The request headers that an operation documents."""
    return {each["name"] for each in operation.get("parameters", []) if each["in"] == "header"}


def accepts_session(contract: Contract) -> list[type[ServiceError]]:
    """The errors that the contract declares itself. They contain CrossSite if it accepts or sets session cookies."""
    return [*contract.errors, *contract.access.errors]


def test_the_document_lists_the_csrf_header_and_the_headers_of_forward_auth(app: Flask, document: Any) -> None:
    for path, method, contract in operations(app):
        headers = headers_of(document["paths"][path][method])
        expected = {*contract.access.headers, "X-Request-Id"}
        if contract.access.is_open and contract.access.takes_service_key:
            expected.add("X-TOKEN")
        if method != "get" and CrossSite in accepts_session(contract):
            expected.add("X-Requested-With")
        if method == "post" and contract.access.permission:
            expected.add("Idempotency-Key")
        assert headers == expected
        if path == "/v1/sessions/verify":
            assert headers >= {"X-Service-Key", "X-Original-Method", "X-Forwarded-Method", "X-Requested-With"}


def test_the_document_describes_service_keys_and_introspection_by_form(document: Any) -> None:
    introspect = document["paths"]["/v1/tokens/introspect"]["post"]

    assert introspect["security"] == [{"service": []}, {"service_basic": []}, {"service_header": []}]
    assert document["securityDefinitions"]["service_basic"]["type"] == "basic"
    assert introspect["consumes"] == ["application/json", "application/x-www-form-urlencoded"]
    either = document["definitions"]["IntrospectionSuccessOrIntrospectionResponse"]
    assert introspect["responses"]["200"]["schema"]["$ref"].endswith("/IntrospectionSuccessOrIntrospectionResponse")
    assert [option["$ref"].rpartition("/")[2] for option in either["x-oneOf"]] == [
        "IntrospectionSuccessResponse",
        "IntrospectionResponse",
    ]
    assert {"success", "data", "active", "sub"} <= either["properties"].keys()
    assert [path for path, methods in document["paths"].items() if "consumes" in methods.get("post", {})] == [
        "/v1/tokens/introspect",
        "/v1/tokens/revoke",
    ]


def test_the_document_contains_the_configured_password_length(make_app: MakeApp) -> None:
    for shortest in (12, 8):
        document = make_app(password_min_length=shortest).test_client().get(DOCUMENT).get_json()
        validate(document)
        models = [
            document["definitions"][name]["properties"]
            for name in ("FinishRegistrationRequest", "PasswordResetRequest", "ChangePasswordRequest")
        ]
        new = [model.get("new_password") or model["password"] for model in models]
        assert [(each["minLength"], each["maxLength"]) for each in new] == [(shortest, 128)] * 3
        assert "x-new-password" not in str(document)


# Functions that turn a generated request into one that succeeds, so that successful responses are checked, too.
