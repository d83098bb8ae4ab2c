"""Pydantic models in the dialect of Swagger 2.0, and the page that shows them."""

import re
import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flask_restx
from flask import Response, render_template
from flask_restx.swagger import PATH_TYPES, extract_path
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from auth_service.api.envelope import JSON, status_of
from auth_service.api.session_cookies import PROOF_HEADER
from auth_service.errors import CrossSite, Refusal

if TYPE_CHECKING:
    from auth_service.api.contract import Contract, View

REFUSAL: dict[str, Any] = {
    "type": "object",
    "required": ["success", "result", "error"],
    "properties": {
        "success": {"type": "boolean", "enum": [False]},
        "result": {"type": "string", "x-nullable": True, "description": "Always null."},
        "error": {
            "type": "object",
            "required": ["code", "msg"],
            "properties": {
                "code": {"type": "string", "description": "Stable, for programs.", "example": "code_wrong"},
                "msg": {"type": "string", "description": "One English sentence, for people."},
                "retry_after": {"type": "integer", "description": "Seconds after which trying again may help."},
                "scope": {"type": "string", "description": "What a service key lacks."},
                "attempts_left": {"type": "integer", "description": "Guesses that remain after a wrong code."},
                "fields": {
                    "type": "array",
                    "description": "What does not fit, and where.",
                    "items": {
                        "type": "object",
                        "required": ["field", "msg"],
                        "properties": {
                            "field": {"type": "string"},
                            "msg": {"type": "string"},
                            "reason": {"type": "string", "description": "Stable; why a new password is refused."},
                        },
                    },
                },
            },
        },
    },
}


PATH_TYPES["user_id"] = "integer"

FORM = "application/x-www-form-urlencoded"
FORM_TOO = "x-form-too"
"""Marks an operation whose body may be a form; flask-restx has no word for what an operation consumes."""

PROOF = "Any value but none: needed where cookies speak for the request or are to be set, from a page that is allowed."


class DocumentedApi(flask_restx.Api):
    """flask-restx without its error machinery, and with a page that needs no inline script."""

    def __init__(self, *, shortest_password: int, **terms: Any) -> None:
        """`shortest_password` is what this deployment asks of new passwords; `terms` are those of flask-restx."""
        super().__init__(**terms)
        self._shortest_password = shortest_password

    def error_router(self, original_handler: Callable[[Exception], Any], e: Exception) -> Any:
        """Leave every error to the one handler of the application.

        flask-restx would look for the route of the request first, which fails once more where the Host header is none.
        """
        return original_handler(e)

    def _register_doc(self, app_or_blueprint: Any) -> None:
        # flask-restx would add a root, at which there is nothing, and to which werkzeug would redirect in HTML.
        # `blueprint` in `api/v1` adds the page.
        return

    @property
    def base_path(self) -> str:
        """What all paths of the document are relative to; flask-restx asks for the path of the root."""
        prefix: str = self.blueprint.url_prefix
        return prefix

    @property
    def __schema__(self) -> dict[str, Any]:
        """The document, its paths in the order in which they are used; flask-restx sorts them by their letters."""
        said: dict[str, Any] = super().__schema__
        order = [
            extract_path(url)
            for namespace in self.namespaces
            for _, urls, _, _ in namespace.resources
            for url in self.ns_urls(namespace, urls)
        ]
        _show_refusals(said["paths"])
        _say_what_is_consumed(said["paths"])
        definitions = _in_force(said["definitions"], shortest_password=self._shortest_password)
        return {
            **said,
            "definitions": definitions,
            "paths": dict(sorted(said["paths"].items(), key=lambda path: order.index(path[0]))),
        }

    def swagger_page(self) -> Response:
        """The Swagger page."""
        nonce = secrets.token_urlsafe(16)
        page = Response(render_template("swagger.html", api=self, nonce=nonce), content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        return page


def documented(namespace: flask_restx.Namespace, view: "View", contract: "Contract") -> "View":
    """Attach to a view what its contract says, where flask-restx looks for it."""
    refusal = namespace.schema_model("Refusal", REFUSAL)
    # The summary and further paragraphs are the view's docstring, which flask-restx adds by itself.
    view = namespace.doc(description=contract.access.sentence)(view)
    if security := _security(contract):
        view = namespace.doc(security=security)(view)
    headers = {name: {"type": "string"} for name in contract.headers}
    done = namespace.response(contract.status, "Done.", _answer_model(namespace, contract), headers=headers)
    view = done(view)
    by_status: dict[int, list[type[Refusal]]] = defaultdict(list)
    for kind in contract.all_refusals():
        by_status[status_of(kind)].append(kind)
    for status, kinds in sorted(by_status.items()):
        said = "\n".join(f"- `{kind.code()}`: {kind.sentence()}" for kind in kinds)
        view = namespace.response(status, said, refusal)(view)
    parameters: dict[str, Any] = {}
    if form := contract.query or contract.query_or_body:
        parameters |= _in_query(form, required=contract.query is not None)
    if form := contract.body or contract.query_or_body:
        needed = contract.body is not None and bool(form.model_json_schema().get("required"))
        # flask-restx's own `expect` makes every body a required one.
        schema = {"$ref": f"#/definitions/{_model(namespace, form).name}"}
        parameters["payload"] = {"in": "body", "required": needed, "schema": schema}
    if contract.form_too:
        view = namespace.doc(vendor={FORM_TOO: True})(view)
    heeded = {PROOF_HEADER: PROOF} if view.__name__ != "get" and CrossSite in contract.all_refusals() else {}
    for name, sentence in {**heeded, **contract.access.heeds}.items():
        parameters[name] = {"in": "header", "type": "string", "required": False, "description": sentence}
    endpoint: View = namespace.doc(params=parameters)(view)
    return endpoint


def _show_refusals(paths: dict[str, Any]) -> None:
    """Give each refusal an example of its own: made from the one model, they would all be the same.

    flask-restx has no word for examples, so they are read from the lists that `documented` wrote.
    """
    operations = (said for path in paths.values() for said in path.values() if "responses" in said)
    for said in (said for operation in operations for said in operation["responses"].values()):
        if first := FIRST_REFUSAL.match(said["description"]):
            error = {"code": first[1], "msg": first[2]}
            said["examples"] = {JSON: {"success": False, "result": None, "error": error}}


def _say_what_is_consumed(paths: dict[str, Any]) -> None:
    for said in (said for path in paths.values() for said in path.values()):
        if FORM_TOO in said:
            del said[FORM_TOO]
            said["consumes"] = [JSON, FORM]


def _in_force(node: Any, *, shortest_password: int) -> Any:
    """The models with what this deployment asks for; they are made once for all applications of a process."""
    if isinstance(node, list):
        return [_in_force(item, shortest_password=shortest_password) for item in node]
    if not isinstance(node, dict):
        return node
    said = {name: _in_force(value, shortest_password=shortest_password) for name, value in node.items()}
    if said.pop(NEW_PASSWORD, False):
        said["minLength"] = shortest_password
    return said


NEW_PASSWORD = "x-new-password"  # noqa: S105 - a word
"""Marks what is a new password, whose shortest length is a setting."""

FIRST_REFUSAL = re.compile(r"- `(\w+)`: (.*)")


def _security(contract: "Contract") -> list[dict[str, list[str]]]:
    access = contract.access
    if access.needs_token:
        return [{"bearer": []}]
    # Where one may come without a key, too, the sentence says so: the page would show a closed lock.
    return [{"service": []}, {"service_basic": []}] if access.takes_service_key and not access.is_open else []


def _answer_model(namespace: flask_restx.Namespace, contract: "Contract") -> Any:
    properties: dict[str, Any] = {"success": {"type": "boolean", "enum": [True]}}
    name = "Done"
    if contract.done:
        properties["result"] = {"type": "string", "enum": ["Ok"]}
    if contract.items:
        name = f"{contract.items.__name__}ListAnswer"
        item = {"$ref": f"#/definitions/{_model(namespace, contract.items).name}"}
        properties["data"] = {"type": "array", "items": item}
        properties["next_cursor"] = {"type": "string", "x-nullable": True}
    if contract.data:
        name = f"{contract.data.__name__}{'Done' if contract.done else ''}Answer"
        properties["data"] = {"$ref": f"#/definitions/{_model(namespace, contract.data).name}"}
    enveloped = {"type": "object", "required": list(properties), "properties": properties}
    answer = namespace.schema_model(name, enveloped)
    return _either(namespace, answer, properties, contract.data) if contract.form_too and contract.data else answer


def _either(namespace: flask_restx.Namespace, enveloped: Any, members: dict[str, Any], card: type[BaseModel]) -> Any:
    """The answer to JSON or to a form. Swagger 2.0 has no word for either of two: what is common to both is little."""
    bare = _model(namespace, card)
    options = [{"$ref": f"#/definitions/{option.name}"} for option in (enveloped, bare)]
    return namespace.schema_model(
        f"{card.__name__}EitherAnswer",
        {
            "type": "object",
            "description": f"`{enveloped.name}`, or for a form `{bare.name}` itself, with nothing around it.",
            "properties": {**dialect(card)["properties"], **members},
            "x-oneOf": options,
        },
    )


def _model(namespace: flask_restx.Namespace, model: type[BaseModel]) -> Any:
    schema = dialect(model)
    for name, definition in schema.pop("definitions", {}).items():
        namespace.schema_model(name, definition)
    return namespace.schema_model(model.__name__, schema)


def _in_query(model: type[BaseModel], *, required: bool) -> dict[str, Any]:
    schema = dialect(model)
    return {
        name: {
            "type": "string",
            **{word: value for word, value in said.items() if word in _WORDS_OF_A_QUERY},
            "in": "query",
            "required": required and name in schema.get("required", []),
        }
        for name, said in schema["properties"].items()
    }


_WORDS_OF_A_QUERY = (
    "type",
    "format",
    "pattern",
    "maxLength",
    "minLength",
    "minimum",
    "maximum",
    "default",
    "description",
)


class _Plain(GenerateJsonSchema):
    """No titles made from names: they only repeat them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def dialect(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a pydantic model, said in Swagger 2.0."""
    schema = model.model_json_schema(ref_template="#/definitions/{model}", schema_generator=_Plain)
    said: dict[str, Any] = _said(schema)
    said.pop("title", None)
    return said


def _said(node: Any) -> Any:
    if isinstance(node, list):
        return [_said(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {("definitions" if name == "$defs" else name): _said(value) for name, value in node.items()}
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
        node.update(others[0] if len(others) == 1 else {"x-anyOf": others})
    return node
