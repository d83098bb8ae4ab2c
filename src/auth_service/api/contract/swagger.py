"""Swagger 2.0 document and Swagger UI page, generated from the contracts and the pydantic models of the endpoints."""

import re
import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import flask_restx
from flask import Response, render_template
from flask_restx.swagger import extract_path
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from auth_service.api.contract.contract import Contract
from auth_service.api.contract.idempotency import DESCRIPTION, IDEMPOTENCY_KEY, accepts_key
from auth_service.api.http.error_schema import ERROR, FIELD_ERROR
from auth_service.api.http.responses import JSON, status_of
from auth_service.api.http.schemas import ResponseModel
from auth_service.api.security.csrf import CSRF_HEADER
from auth_service.errors import ServiceError, ValidationFailed
from auth_service.errors.fields import FieldError, FieldReason

FORM = "application/x-www-form-urlencoded"
ACCEPTS_FORM = "x-accepts-form"
"""Internal mark of an operation whose body may be a form. flask-restx cannot set `consumes` for one operation."""

NEW_PASSWORD = "x-new-password"  # noqa: S105 - not a password
"""Internal mark of a new password, whose minimum length is a setting."""

CSRF_DESCRIPTION = "Any non-empty value. Required where cookies authenticate the request or are to be set (CSRF check)."


class DocumentedApi(flask_restx.Api):
    """The API of flask-restx without its error handler, with a Swagger page under a strict Content-Security-Policy."""

    def __init__(self, *, shortest_password: int, **options: Any) -> None:
        """`shortest_password` is the minimum length of new passwords; `options` are those of flask-restx."""
        super().__init__(**options)
        self._shortest_password = shortest_password

    def error_router(self, original_handler: Callable[[Exception], Any], e: Exception) -> Any:
        """Leave every error to the error handler of the application.

        flask-restx would match the route of the request first, which fails again for an invalid Host header.
        """
        return original_handler(e)

    def _register_doc(self, app_or_blueprint: Any) -> None:
        # flask-restx would add a route for the root, too, to which werkzeug would redirect with an HTML body.
        # `blueprint` in `api/v1` adds the page.
        return

    @property
    def base_path(self) -> str:
        """The prefix of all paths. flask-restx derives it from the route of the root, which does not exist here."""
        prefix: str = self.blueprint.url_prefix
        return prefix

    @property
    def __schema__(self) -> dict[str, Any]:
        """The document, with paths in the order of their routes; flask-restx would sort them alphabetically."""
        document: dict[str, Any] = super().__schema__
        order = [
            extract_path(url)
            for namespace in self.namespaces
            for _, urls, _, _ in namespace.resources
            for url in self.ns_urls(namespace, urls)
        ]
        for response in document["responses"].values():
            response["description"] = "Unused: flask-restx adds it for its own error handling."
        _add_error_examples(document["paths"])
        _state_consumed_types(document["paths"])
        return {
            **document,
            "definitions": _with_minimum_length(document["definitions"], shortest_password=self._shortest_password),
            "paths": dict(sorted(document["paths"].items(), key=lambda path: order.index(path[0]))),
        }

    def swagger_page(self) -> Response:
        """Return the Swagger page."""
        nonce = secrets.token_urlsafe(16)
        page = Response(render_template("swagger.html", api=self, nonce=nonce), content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        return page


def document(namespace: flask_restx.Namespace, view: Callable[..., Any], contract: Contract) -> Callable[..., Any]:
    """Attach the documentation of a contract to a view, in the attributes that flask-restx reads; return the view."""
    # flask-restx reads the summary from the docstring. Assigned at run time, it exists under `python -OO` too.
    view.__doc__ = contract.summary
    view = namespace.doc(description=f"{contract.access.sentence}\n{contract.description}".strip())(view)
    if security := _security(contract):
        view = namespace.doc(security=security)(view)
    view = _with_responses(namespace, view, contract)
    if contract.accepts_form:
        view = namespace.doc(vendor={ACCEPTS_FORM: True})(view)
    documented: Callable[..., Any] = namespace.doc(params=_parameters(namespace, view, contract))(view)
    return documented


def _security(contract: Contract) -> list[dict[str, list[str]]]:
    access = contract.access
    schemes = ["bearer"] if access.needs_token else []
    # An optional service key is described by the sentence of the access rule: `security` would declare it as required.
    if access.takes_service_key and not access.is_open:
        schemes += ["service", "service_basic"]
    return [{scheme: []} for scheme in schemes]


def _with_responses(
    namespace: flask_restx.Namespace, view: Callable[..., Any], contract: Contract
) -> Callable[..., Any]:
    headers = {name: {"type": "string"} for name in contract.headers}
    view = namespace.response(contract.status, "Success.", _response_model(namespace, contract), headers=headers)(view)
    namespace.schema_model("FieldError", FIELD_ERROR)
    error_model = namespace.schema_model("Error", ERROR)
    by_status: dict[int, list[type[ServiceError]]] = defaultdict(list)
    for error in contract.all_errors():
        by_status[status_of(error)].append(error)
    for status, errors in sorted(by_status.items()):
        description = "\n".join(f"- `{error.code}`: {error.message}" for error in errors)
        view = namespace.response(status, description, error_model)(view)
    return view


def _parameters(
    namespace: flask_restx.Namespace, view: Callable[..., Any], contract: Contract
) -> dict[str, dict[str, Any]]:
    parameters: dict[str, dict[str, Any]] = {}
    if model := contract.query or contract.query_or_body:
        parameters |= _in_query(model, required=contract.query is not None)
    if model := contract.body or contract.query_or_body:
        required = contract.body is not None and bool(model.model_json_schema().get("required"))
        # Not with `expect` of flask-restx: it declares every body as required.
        schema = {"$ref": f"#/definitions/{_model(namespace, model).name}"}
        parameters["payload"] = {"in": "body", "required": required, "schema": schema}
    csrf = {CSRF_HEADER: CSRF_DESCRIPTION} if contract.needs_csrf_header else {}
    key = {IDEMPOTENCY_KEY: DESCRIPTION} if accepts_key(contract, view.__name__) else {}
    for name, description in {**csrf, **key, **contract.access.headers}.items():
        parameters[name] = {"in": "header", "type": "string", "required": False, "description": description}
    return parameters


def _response_model(namespace: flask_restx.Namespace, contract: Contract) -> Any:
    properties: dict[str, Any] = {"success": {"type": "boolean", "enum": [True]}}
    name = "OkEnvelope"
    if contract.done:
        properties["result"] = {"type": "string", "enum": ["Ok"]}
    if contract.items:
        name = f"{contract.items.__name__}ListEnvelope"
        item = {"$ref": f"#/definitions/{_model(namespace, contract.items).name}"}
        properties["data"] = {"type": "array", "items": item}
        properties["next_cursor"] = {"type": "string", "x-nullable": True}
    if contract.data:
        name = f"{contract.data.__name__}{'Ok' if contract.done else ''}Envelope"
        properties["data"] = {"$ref": f"#/definitions/{_model(namespace, contract.data).name}"}
    schema = {"type": "object", "required": list(properties), "properties": properties}
    if contract.has_secrets:
        properties["replayed"] = {"type": "boolean", "enum": [True]}
    envelope = namespace.schema_model(name, schema)
    return (
        _with_or_without_envelope(namespace, envelope, properties, contract.data)
        if contract.accepts_form and contract.data
        else envelope
    )


def _with_or_without_envelope(
    namespace: flask_restx.Namespace, envelope: Any, members: dict[str, Any], model: type[BaseModel]
) -> Any:
    """Return the schema of the response to JSON (envelope) or to a form (bare data).

    Swagger 2.0 has no `oneOf`: the schema has the properties of both and requires none.
    """
    bare = _model(namespace, model)
    options = [{"$ref": f"#/definitions/{option.name}"} for option in (envelope, bare)]
    return namespace.schema_model(
        f"{model.__name__}OrEnvelope",
        {
            "type": "object",
            "description": f"`{envelope.name}`; for a form, `{bare.name}` without the envelope.",
            "properties": {**json_schema(model)["properties"], **members},
            "x-oneOf": options,
        },
    )


def _model(namespace: flask_restx.Namespace, model: type[BaseModel]) -> Any:
    schema = json_schema(model)
    for name, definition in schema.pop("definitions", {}).items():
        namespace.schema_model(name, definition)
    return namespace.schema_model(model.__name__, schema)


def _in_query(model: type[BaseModel], *, required: bool) -> dict[str, dict[str, Any]]:
    schema = json_schema(model)
    return {
        name: {
            "type": "string",
            **{keyword: value for keyword, value in field.items() if keyword in _QUERY_KEYWORDS},
            "in": "query",
            "required": required and name in schema.get("required", []),
        }
        for name, field in schema["properties"].items()
    }


_QUERY_KEYWORDS = frozenset(
    ("type", "format", "pattern", "maxLength", "minLength", "minimum", "maximum", "default", "description")
)


class _WithoutDocstrings(GenerateJsonSchema):
    """Omits titles, which repeat the names, and docstrings, which are for developers and absent under `python -OO`."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> dict[str, Any]:
        generated: dict[str, Any] = super().model_schema(schema)
        generated.pop("description", None)
        return generated


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a pydantic model, converted to the subset of Swagger 2.0."""
    schema = model.model_json_schema(ref_template="#/definitions/{model}", schema_generator=_WithoutDocstrings)
    converted: dict[str, Any] = _converted(schema)
    converted.pop("title", None)
    if issubclass(model, ResponseModel) and (secret_fields := model.secrets()):
        converted["required"] = [name for name in converted["required"] if name not in secret_fields]
    return converted


def _converted(node: Any) -> Any:
    if isinstance(node, list):
        return [_converted(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {("definitions" if name == "$defs" else name): _converted(value) for name, value in node.items()}
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "examples" in node:
        node["example"] = node.pop("examples")[0]
    options = node.get("anyOf", [])
    others = [option for option in options if option != {"type": "null"}]
    if len(others) < len(options):
        node.pop("anyOf")
        node.pop("default", None)
        node["x-nullable"] = True
        # Keywords of the field override those of its type.
        node = {**(others[0] if len(others) == 1 else {"x-anyOf": others}), **node}
    return node


def _add_error_examples(paths: dict[str, Any]) -> None:
    """Add the first error as the example of each error response; otherwise the page would show `code_wrong` everywhere.

    flask-restx has no parameter for examples. The errors are read from the lists that `_with_responses` wrote.
    """
    operations = (operation for path in paths.values() for operation in path.values() if "responses" in operation)
    for response in (response for operation in operations for response in operation["responses"].values()):
        if first := FIRST_ERROR.match(response["description"]):
            error: dict[str, Any] = {"code": first[1], "msg": first[2]}
            if first[1] == ValidationFailed.code:
                error["fields"] = [FieldError(field="email", reason=FieldReason.MISSING, msg="Field required.")]
            response["examples"] = {JSON: {"success": False, "result": None, "error": error}}


FIRST_ERROR = re.compile(r"- `(\w+)`: (.*)")


def _state_consumed_types(paths: dict[str, Any]) -> None:
    for operation in (operation for path in paths.values() for operation in path.values()):
        if ACCEPTS_FORM in operation:
            del operation[ACCEPTS_FORM]
            operation["consumes"] = [JSON, FORM]


def _with_minimum_length(node: Any, *, shortest_password: int) -> Any:
    """Return a copy of the schemas with the minimum length of new passwords in this deployment.

    Not in place, because flask-restx shares the schemas between all applications of a process.
    """
    if isinstance(node, list):
        return [_with_minimum_length(item, shortest_password=shortest_password) for item in node]
    if not isinstance(node, dict):
        return node
    copy = {name: _with_minimum_length(value, shortest_password=shortest_password) for name, value in node.items()}
    if copy.pop(NEW_PASSWORD, False):
        copy["minLength"] = shortest_password
    return copy
