"""Conformance of answers to the OpenAPI document (OA2): status, code, members and headers of every answer.

The test clients of all applications check their answers here. The document is closed for that: a member, a header or a
cookie that it does not list is an error, although clients have to ignore what they do not know.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from jsonschema_rs import Draft202012Validator, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from auth_service.api import v1
from auth_service.api.contract import openapi
from auth_service.api.contract.json_schemas import Schemas
from auth_service.api.contract.operations import Operation, operations
from auth_service.api.http.problems import PROBLEM
from auth_service.api.http.responses import JSON
from auth_service.errors import InternalError, error_classes

PRODUCED: set[tuple[str, str]] = set()
"""Operation and code of every error answer of this process."""

PRODUCED_FOLDER = "PRODUCED_CODES"
"""The environment variable that names a folder for the produced codes of all processes of a run."""

MAKESHIFT = {InternalError.code}
"""A defect of the service belongs to no contract. Some tests break the service to see how it answers."""


@cache
def document() -> Any:
    """The document, with closed schemas."""
    deployment = openapi.Deployment(service_name="Portal", shortest_password=1, production=False)
    return closed(v1.openapi_document(deployment))


def closed(node: Any) -> Any:
    """A copy of a schema in which objects have no other members than those listed."""
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    copy = {name: closed(each) for name, each in node.items()}
    if copy.get("type") == "object" and isinstance(copy.get("properties"), dict):
        copy.setdefault("additionalProperties", False)
    return copy


@cache
def by_rule() -> dict[tuple[str, str], Operation]:
    """The operations by route and method."""
    return {(f"{openapi.PREFIX}{each.rule}", each.method): each for each in operations(v1.NAMESPACES)}


@cache
def validator(schema: str) -> Draft202012Validator:
    """The compiled validator of a schema, given as JSON."""
    whole = {**json.loads(schema), "components": {"schemas": document()["components"]["schemas"]}}
    return Draft202012Validator(whole, validate_formats=True)


@cache
def any_error() -> str:
    """The schema of the errors of requests that reach no operation."""
    schemas = Schemas(shortest_password=1)
    schemas.error("AnyResponse", list(error_classes()))
    return json.dumps(closed(schemas.named["AnyResponse"]))


@cache
def response_of(path: str, method: str, status: int) -> Any:
    """The response object of an operation; None for a status that it does not list."""
    return document()["paths"][path][method.lower()]["responses"].get(str(status))


@cache
def schema_of(path: str, method: str, status: int) -> str:
    """The schema of a response in JSON."""
    return json.dumps(response_of(path, method, status)["content"][JSON]["schema"])


@cache
def documented_headers() -> frozenset[str]:
    """Every response header that any operation lists."""
    responses = (
        each for path in document()["paths"].values() for op in path.values() for each in op["responses"].values()
    )
    return frozenset(name.lower() for each in responses for name in each["headers"])


def operation_of(app: Flask, method: str, path: str) -> Operation | None:
    """The operation that answers a request; None for a request that reaches none."""
    try:
        rule, _ = app.url_map.bind("localhost").match(path, method=method, return_rule=True)
    except HTTPException:
        return None
    return by_rule().get((rule.rule.rstrip("/"), method))


def check(app: Flask, method: str, path: str, response: TestResponse) -> None:
    """Check one answer against the document. Raises AssertionError."""
    operation = operation_of(app, method, path)
    is_error = response.status_code >= 400
    if operation is None:
        if is_error and response.mimetype == JSON and method != "HEAD":
            conforms(any_error(), response, f"{method} {path}")
        return
    name = operation.contract.operation
    where = f"{name} ({method} {path}): {response.status_code}"
    if is_error:
        body = response.get_json(force=True)
        code = body["code"] if response.mimetype == PROBLEM else body["error"]["code"]
        if code in MAKESHIFT:
            return
        PRODUCED.add((name, code))
        assert code in {error.code for error in operation.errors.get(response.status_code, ())}, f"{where} {code}"
    key = operation.path, operation.method, response.status_code
    listed = response_of(*key)
    assert listed is not None, where
    if response.mimetype == JSON:
        conforms(schema_of(*key), response, where)
        assert response.get_json(force=True).get("success", True) is not is_error, where
    elif response.mimetype != PROBLEM:
        assert response.mimetype in listed["content"], f"{where}: {response.mimetype}"
    sent = {each.lower() for each in response.headers.keys()} & documented_headers()  # noqa: SIM118 - pairs otherwise
    unlisted = sent - {each.lower() for each in listed["headers"]}
    assert not unlisted, f"{where}: {unlisted}"
    assert "x-request-id" in sent, where
    cookies = {re.sub("^__Host-", "", each.partition("=")[0]) for each in response.headers.getlist("Set-Cookie")}
    assert cookies <= {each.purpose for each in operation.contract.sets_cookies}, where


def note_error(body: bytes) -> None:
    """Count the code of an error that a server sent over a socket, such as that of malformed HTTP; of no operation."""
    with suppress(ValueError, KeyError, TypeError):
        PRODUCED.add(("", json.loads(body)["error"]["code"]))


def conforms(schema: str, response: TestResponse, where: str) -> None:
    """Check the body of an answer against a schema."""
    try:
        validator(schema).validate(response.get_json(force=True))
    except ValidationError as error:
        raise AssertionError(f"{where}: {error.message} at {list(error.instance_path)}") from None


class ConformingClient(FlaskClient):
    """The test client of an application; every answer is checked against the document."""

    def open(self, *args: Any, **options: Any) -> TestResponse:
        """Send a request, and check its answer."""
        response = super().open(*args, **options)
        request = response.request
        if request.method not in ("OPTIONS", "HEAD"):
            check(self.application, request.method, request.path, response)
        return response


def save_produced() -> None:
    """Write the codes that this process has produced, if a folder is named for them."""
    if folder := os.environ.get(PRODUCED_FOLDER):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{os.getpid()}.json").write_text(json.dumps(sorted(PRODUCED)), "utf-8")


def report_not_produced() -> list[str]:
    """Return a line for each code that no test of this run has produced, if a folder is named for them."""
    folder = os.environ.get(PRODUCED_FOLDER)
    return [f"{name}: no test produces {code}" for name, code in not_produced(Path(folder))] if folder else []


def not_produced(folder: Path) -> Iterator[tuple[str, str]]:
    """The operations and codes that are listed, and that no test of a run has produced.

    A code that an operation declares itself has to be produced there. One that its access rule, its body or the stores
    imply has one source for all operations, and has to be produced by one of them.
    """
    produced = {(name, code) for path in folder.glob("*.json") for name, code in json.loads(path.read_text("utf-8"))}
    codes = {code for _, code in produced}
    for operation in operations(v1.NAMESPACES):
        contract = operation.contract
        own = {error.code for variant in contract.variants for error in variant.errors}
        for code in (error.code for error in contract.all_errors()):
            if code not in codes or (code in own and (contract.operation, code) not in produced):
                yield contract.operation, code
