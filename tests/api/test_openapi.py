"""OpenAPI 3.1 document at /api/openapi.json: valid, current, complete, and usable by generators of clients (OA1)."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from auth_service.api import v1
from auth_service.api.contract.openapi import Deployment
from auth_service.api.contract.operations import Operation, operations
from auth_service.api.http.responses import status_of
from auth_service.cli.docs import openapi_document
from auth_service.errors import error_classes
from auth_service.models.audit_event import EventType
from tests.support.application import MakeApp
from tests.support.documents import ROOT

OPENAPI = "/api/openapi.json"
SCHEMAS = "#/components/schemas/"


@pytest.fixture
def document(app: Flask) -> Any:
    """The document that a client gets."""
    return app.test_client().get(OPENAPI).json


def listed(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Path, method and operation of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def schema_of(document: Any, response: Any) -> Any:
    reference = response["content"]["application/json"]["schema"]["$ref"]
    return document["components"]["schemas"][reference.removeprefix(SCHEMAS)]


def test_oa1_the_document_is_valid_openapi_3_1(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_oa1_the_committed_document_is_current() -> None:
    committed = (ROOT / "docs" / "openapi.json").read_text("utf-8")

    assert committed == openapi_document(), "run `make docs`"


def test_oa1_both_documents_list_the_same_operations_statuses_and_codes(app: Flask, document: Any) -> None:
    swagger = app.test_client().get("/api/swagger.json").get_json()
    assert swagger["basePath"] == document["servers"][0]["url"] == "/api"

    def codes(description: str) -> list[str]:
        return re.findall(r"^- `(\w+)`: ", description, re.MULTILINE)

    def summary(listed_document: Any) -> Any:
        return [
            (path, method, operation["operationId"], status, codes(each["description"]))
            for path, method, operation in listed(listed_document)
            for status, each in operation["responses"].items()
        ]

    assert summary(swagger) == summary(document)


def test_oa1_every_operation_lists_its_errors_as_an_enum_with_their_members(document: Any) -> None:
    by_id = {operation["operationId"]: operation for _, _, operation in listed(document)}
    assert len(by_id) > 40
    for each in operations(v1.NAMESPACES):
        operation = by_id.pop(each.contract.operation)
        for status, errors in each.errors.items():
            error = schema_of(document, operation["responses"][str(status)])["properties"]["error"]
            properties = error["properties"]
            assert set(properties["code"]["enum"]) == {kind.code for kind in errors}
            assert properties.keys() == {"code", "msg", *(name for kind in errors for name in kind.extra)}
            assert {"code", "msg"} <= set(error["required"])
            assert all(status_of(kind) == status for kind in errors)
    assert not by_id


def test_oa1_an_error_names_its_members_with_types(document: Any) -> None:
    def error(operation: str, status: str) -> Any:
        [found] = [each for _, _, each in listed(document) if each["operationId"] == operation]
        return schema_of(document, found["responses"][status])["properties"]["error"]

    wrong_code = error("confirm_email", "404")
    assert wrong_code["properties"]["attempts_left"] == {
        "type": "integer",
        "format": "int64",
        "description": "Attempts that remain for this code. Only with `code_wrong`.",
    }
    assert wrong_code["required"] == ["code", "msg"]
    assert error("sign_in", "429")["required"] == ["code", "msg", "retry_after"]
    assert error("sign_in", "503")["required"] == ["code", "msg"]
    assert error("refresh_tokens", "403")["properties"]["reason"]["enum"] == ["origin", "site", "header"]
    denied = error("sign_in", "403")
    assert denied["properties"]["reason"] == {
        "type": "string",
        "description": "The reason of the ban. Only with `account_banned`. The failed check. Only with `cross_site`.",
    }
    assert denied["properties"]["until"]["type"] == ["string", "null"]
    assert denied["required"] == ["code", "msg", "reason"]
    fields = error("sign_in", "422")["properties"]["fields"]
    assert fields["items"] == {"$ref": "#/components/schemas/FieldErrorResponse"}


@pytest.mark.parametrize("error", list(error_classes()), ids=lambda error: error.code)
def test_oa1_the_message_of_an_error_names_only_members_that_it_has(error: Any) -> None:
    names = set(re.findall(r"`([a-z_]+)`", error.message))
    values = {"origin", "site", "header"}

    assert names - values <= error.extra.keys()


def nested(node: Any) -> Iterator[Any]:
    """Every object of a schema, from the outside in."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nested(value)
    if isinstance(node, list):
        for value in node:
            yield from nested(value)


def test_oa1_every_property_has_a_type_and_every_integer_a_format(document: Any) -> None:
    schemas = document["components"]["schemas"]
    untyped = [
        (name, prop)
        for name, schema in schemas.items()
        for each in nested(schema)
        for prop, value in each.get("properties", {}).items()
        if isinstance(value, dict) and not {"type", "$ref"} & value.get("anyOf", [value])[0].keys()
    ]
    assert untyped == []
    for each in nested(document["paths"]):
        if "in" in each and "schema" in each:
            assert "type" in each["schema"], each
    for each in nested(document):
        if each.get("type") in ("integer", ["integer", "null"]):
            assert each["format"] in ("int32", "int64"), each
    assert schemas["UserResponse"]["properties"]["id"]["format"] == "int64"


def test_oa1_fixed_values_are_enums(document: Any) -> None:
    schemas = {name: each.get("properties") for name, each in document["components"]["schemas"].items()}

    assert schemas["EventResponse"]["kind"]["enum"] == [kind.value for kind in EventType]
    assert schemas["SessionResponse"]["method"]["enum"] == ["password", "code", "passkey", "identity"]
    assert schemas["ExportedEmailResponse"]["state"]["enum"] == ["waiting", "sent", "expired", "dead"]
    assert schemas["MeResponse"]["acr"]["enum"] == ["aal1", "aal2"]
    assert schemas["SignInRequest"]["transport"]["enum"] == ["bearer", "cookie"]
    assert schemas["TokensResponse"]["token_type"]["const"] == "Bearer"


def test_oa1_schemas_are_called_request_or_response(document: Any) -> None:
    names = document["components"]["schemas"]

    assert [name for name in names if not re.fullmatch(r"([A-Z][a-z]*)+(Request|Response)", name)] == []


@pytest.mark.parametrize("operation", list(operations(v1.NAMESPACES)), ids=lambda each: f"{each.method} {each.path}")
def test_oa1_every_contract_names_its_operation(operation: Operation) -> None:
    name = operation.contract.operation

    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name), "give the contract an `operation`, such as `list_my_sessions`"


def test_oa1_operation_ids_are_unique(document: Any) -> None:
    ids = [operation["operationId"] for _, _, operation in listed(document)]

    assert len(ids) == len(set(ids))
    assert {"sign_up", "confirm_email", "finish_sign_up", "sign_in", "list_my_sessions"} <= set(ids)


def test_oa1_no_schema_has_the_name_that_generators_give_to_the_parameters_of_an_operation(document: Any) -> None:
    for _, _, operation in listed(document):
        name = "".join(word.capitalize() for word in operation["operationId"].split("_")) + "Request"
        if name in document["components"]["schemas"]:  # they choose another name if it is the body of this operation
            body = operation["requestBody"]["content"]["application/json"]["schema"]
            assert body == {"$ref": f"{SCHEMAS}{name}"}, name


def test_oa1_a_form_has_the_schema_of_json(document: Any) -> None:
    forms = [
        operation["requestBody"]["content"]
        for _, _, operation in listed(document)
        if len(operation.get("requestBody", {"content": {}})["content"]) > 1
    ]

    assert len(forms) == 2
    for each in forms:
        assert each["application/x-www-form-urlencoded"] == each["application/json"]
        name = each["application/json"]["schema"]["$ref"].removeprefix(SCHEMAS)
        assert "additionalProperties" not in document["components"]["schemas"][name]


def test_oa1_headers_cookies_and_security_are_described(document: Any) -> None:
    by_id = {operation["operationId"]: operation for _, _, operation in listed(document)}

    def parameters(operation: str, place: str) -> set[str]:
        return {each["name"] for each in by_id[operation]["parameters"] if each["in"] == place}

    def headers(operation: str, status: str) -> set[str]:
        return set(by_id[operation]["responses"][status]["headers"])

    assert parameters("sign_in", "header") == {"X-Requested-With", "X-Request-Id"}
    assert parameters("create_role", "header") == {"X-Requested-With", "X-Request-Id", "Idempotency-Key"}
    assert parameters("refresh_tokens", "cookie") == {"refresh"}
    assert parameters("confirm_email", "cookie") == {"registration"}
    assert headers("sign_in", "200") == {"X-Request-Id", "Vary", "Set-Cookie"}
    assert headers("sign_in", "429") == {"X-Request-Id", "Vary", "Retry-After"}
    assert headers("get_me", "401") == {"X-Request-Id", "Vary", "WWW-Authenticate"}
    assert headers("refresh_tokens", "401") == {"X-Request-Id", "Vary", "WWW-Authenticate", "Set-Cookie"}
    assert headers("list_roles", "403") == {"X-Request-Id", "Vary", "WWW-Authenticate"}
    assert by_id["sign_in"]["security"] == []
    assert by_id["get_me"]["security"] == [{"bearer": []}, {"cookie": []}]
    service: list[dict[str, list[str]]] = [{"service": []}, {"service_basic": []}, {"service_header": []}]
    assert by_id["introspect_token"]["security"] == service
    assert by_id["send_registration_code"]["security"] == []
    assert "X-TOKEN" in parameters("send_registration_code", "header")
    assert by_id["list_roles"]["security"] == [{"bearer": []}, {"cookie": []}, *service]
    schemes = document["components"]["securitySchemes"]
    assert next(iter(schemes)) == "bearer"
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["service_header"]["in"], schemes["service_header"]["name"]) == ("header", "X-TOKEN")
    assert (schemes["cookie"]["in"], schemes["cookie"]["name"]) == ("cookie", "access")


def test_oa1_a_path_with_two_requests_lists_both_bodies_and_answers(document: Any) -> None:
    roles = document["paths"]["/v1/roles"]["post"]

    body = roles["requestBody"]["content"]["application/json"]["schema"]["$ref"].removeprefix(SCHEMAS)
    bodies = document["components"]["schemas"][body]["oneOf"]
    assert body == "RoleCreationOrRoleGrantRequest"
    assert [each["$ref"].removeprefix(SCHEMAS) for each in bodies] == ["RoleCreationRequest", "RoleGrantRequest"]
    assert {"200", "201"} <= roles["responses"].keys()
    assert "role_unknown" in roles["responses"]["404"]["description"]


def test_oa1_the_document_shows_the_settings_of_the_deployment(make_app: MakeApp) -> None:
    for shortest in (12, 8):
        text = make_app(password_min_length=shortest, service_name="Films").test_client().get(OPENAPI).text
        document = json.loads(text)
        assert document["info"]["title"] == "Films: authentication"
        password = document["components"]["schemas"]["ChangePasswordRequest"]["properties"]["new_password"]
        assert (password["minLength"], password["maxLength"]) == (shortest, 128)
        assert "x-new-password" not in text
    in_production = v1.openapi_document(Deployment(service_name="Films", shortest_password=8, production=True))
    assert in_production["components"]["securitySchemes"]["cookie"]["name"] == "__Host-access"


def test_oa1_examples_of_requests_and_errors_conform_to_their_schemas(document: Any) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        if "examples" in schema:
            [example] = schema["examples"]
            assert set(schema.get("required", ())) <= example.keys() <= schema["properties"].keys(), name
    for code, example in document["components"]["examples"].items():
        assert example["value"]["error"]["code"] == code
        assert example["value"]["success"] is False
    assert document["components"]["examples"]["validation_failed"]["value"]["error"]["fields"]


def test_the_documents_are_absent_without_the_swagger_page(make_app: MakeApp) -> None:
    client = make_app(swagger_page=False).test_client()

    for path in (OPENAPI, "/api/openapi", "/api/swagger.json", "/api/swagger", "/swaggerui/swagger-ui.css"):
        assert client.get(path).status_code == 404
