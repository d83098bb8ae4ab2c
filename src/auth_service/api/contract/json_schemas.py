"""JSON Schemas (2020-12) of requests, responses and errors, generated from the models and the error classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from auth_service.api.contract.contract import Contract
from auth_service.api.http.schemas import ResponseModel
from auth_service.errors import ServiceError

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/"

NEW_PASSWORD = "x-new-password"  # noqa: S105 - not a password
"""Internal mark of a new password, whose minimum length is a setting."""

LARGEST_INT32 = 2**31 - 1

EXAMPLES: Mapping[str, Any] = {
    "integer": 30,
    "string": "text",
    "boolean": True,
    "object": {},
    "uuid": "7f9c2ba4-e88f-4a3c-9d1c-5a1f0e6d3b21",
    "date-time": "2026-01-31T12:00:00Z",
}
"""Example values by `format` or `type`, for properties that declare none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schemas:
    """The named schemas of one document."""

    shortest_password: int
    named: dict[str, Schema] = field(default_factory=dict)

    def add(self, name: str, schema: Schema) -> Schema:
        """Add a schema under a name; return the reference to it. Raises ValueError if the name has another schema."""
        if self.named.setdefault(name, schema) != schema:
            raise ValueError(f"two schemas are called {name}")
        return {"$ref": f"{REFERENCE}{name}"}

    def request(self, model: type[BaseModel], *, is_form: bool = False) -> Schema:
        """Add the schema of a request model, with an example that can be sent as it stands; return the reference.

        One that may also be sent as a form allows unknown parameters (RFC 6749, 3.2). JSON and form share a schema,
        because some generators of clients leave out one that only a form has.
        """
        schema = self.of_model(model, mode="validation")
        if is_form:
            del schema["additionalProperties"]
        return self.add(model.__name__, {**schema, "examples": schema.get("examples", [self._example(schema)])})

    def one_of(self, *references: Schema) -> Schema:
        """Add a schema that is one of several; return the reference. Generated clients would name it by themselves."""
        if len(references) == 1:
            return references[0]
        names = [each["$ref"].removeprefix(REFERENCE) for each in references]
        (kind,) = {"Request" if name.endswith("Request") else "Response" for name in names}
        name = "Or".join(name.removesuffix(kind) for name in names) + kind
        return self.add(name, {"oneOf": list(references)})

    def response(self, model: type[ResponseModel]) -> Schema:
        """Add the schema of a response model; return the reference."""
        return self.add(model.__name__, self.of_model(model, mode="serialization"))

    def success(self, contract: Contract) -> Schema:
        """Add the schema of a success in its envelope; return the reference."""
        properties: Schema = {"success": _always(True)}
        name = "OkResponse" if contract.done else "EmptyResponse"
        if contract.done:
            properties["result"] = {"type": "string", "const": "Ok"}
        if contract.items:
            name = f"{_stem(contract.items)}ListResponse"
            properties["data"] = {"type": "array", "items": self.response(contract.items)}
            properties["next_cursor"] = {"type": ["string", "null"], "description": NEXT_CURSOR}
        if contract.data:
            name = f"{_stem(contract.data)}{'Ok' if contract.done else 'Success'}Response"
            properties["data"] = self.response(contract.data)
        schema = _object(properties)
        if contract.has_secrets:
            properties["replayed"] = {**_always(True), "description": REPLAYED}
        return self.add(name, schema)

    def error(self, name: str, errors: Sequence[type[ServiceError]]) -> Schema:
        """Add the schema of an error response with one of these errors; return the reference."""
        properties = {
            "success": _always(False),
            # Not the type `null` alone, for which generators of clients lack a name.
            "result": {"type": ["string", "null"], "description": "Always null."},
            "error": self.error_object(errors),
        }
        return self.add(name, _object(properties))

    def error_object(self, errors: Sequence[type[ServiceError]]) -> Schema:
        """Return the schema of the error object: `code` is one of the codes of these errors."""
        errors = sorted(errors, key=lambda error: error.code)  # several operations may list them in another order
        code: Schema = {"type": "string", "enum": [error.code for error in errors], "description": CODE}
        properties: Schema = {"code": code, "msg": {"type": "string", "description": MESSAGE}}
        for name in dict.fromkeys(name for error in errors for name in error.extra):
            properties[name] = self._shared_member(name, errors)
        required = [name for name in properties if name not in _optional(errors)]
        return {**_object(properties), "required": required}

    def problem(self) -> Schema:
        """Add the schema of an error in the form of RFC 9457, which has the further members of its error, too."""
        text: Schema = {"type": "string"}
        properties = {
            "type": {
                **text,
                "format": "uri",
                "description": "The address of the list of errors, with the code after `#`.",
            },
            "title": {**text, "description": MESSAGE},
            "status": {"type": "integer", "format": "int32", "description": "The HTTP status."},
            "instance": {**text, "description": "The id of the request, as in `X-Request-Id`."},
            "code": {**text, "description": CODE},
        }
        return self.add("ProblemResponse", _object(properties))

    def example_of_error(self, error: type[ServiceError]) -> Schema:
        """Return an example of the response to an error."""
        example = self._example(self.error_object([error]))
        return {"success": False, "result": None, "error": {**example, "code": error.code, "msg": error.message}}

    def of_model(self, model: type[BaseModel], *, mode: JsonSchemaMode) -> Schema:
        """Return the schema of a model, and add those of the models in it."""
        generated = model.model_json_schema(
            mode=mode, ref_template=f"{REFERENCE}{{model}}", schema_generator=_WithoutDocstrings
        )
        return self._resolved(generated)

    def _shared_member(self, name: str, errors: Sequence[type[ServiceError]]) -> Schema:
        """Return the schema of a member that some of the errors have. Its meaning may depend on the error."""
        having: dict[str, list[str]] = {}
        merged: Schema = {}
        for error in (error for error in errors if name in error.extra):
            schema = self._member(error.extra[name])
            having.setdefault(schema.pop("description"), []).append(f"`{error.code}`")
            merged = _merged(merged, schema) if merged else schema
        if sum(map(len, having.values())) < len(errors) or len(having) > 1:
            texts = [f"{text} Only with {', '.join(codes)}." for text, codes in having.items()]
        else:
            texts = list(having)
        return {**merged, "description": " ".join(texts)}

    def _member(self, hint: Any) -> Schema:
        """Return the schema of an extra member of an error; a typed dictionary becomes a named schema."""
        if get_origin(hint) is NotRequired:
            (hint,) = get_args(hint)
        if get_origin(hint) is Annotated:
            return {**self._member(get_args(hint)[0]), "description": _text(hint)}
        if get_origin(hint) is list:
            return {"type": "array", "items": self._member(get_args(hint)[0])}
        if is_typeddict(hint):
            members = get_type_hints(hint, include_extras=True)
            properties = {name: self._member(each) for name, each in members.items()}
            return self.add(f"{hint.__name__}Response", _object(properties))
        generated = TypeAdapter(hint).json_schema(schema_generator=_WithoutDocstrings)
        return self._resolved(generated)

    def _resolved(self, generated: Schema) -> Schema:
        """Return a generated schema in the normal form; add its definitions, but put enumerations in place."""
        definitions = generated.pop("$defs", {})
        enumerations = {f"{REFERENCE}{name}": each for name, each in definitions.items() if "enum" in each}
        for name, definition in definitions.items():
            if "enum" not in definition:
                self.add(name, self._normal(definition, enumerations))
        resolved: Schema = self._normal(generated, enumerations)
        return resolved

    def _normal(self, node: Any, enumerations: Mapping[str, Schema]) -> Any:
        """Return a schema in the form that generators of clients understand.

        `type: [T, null]` instead of `anyOf`, and integers with a `format`. New passwords get their minimum length.
        """
        if isinstance(node, list):
            return [self._normal(item, enumerations) for item in node]
        if not isinstance(node, dict):
            return node
        if node.get("$ref") in enumerations:
            node = {**enumerations[node["$ref"]], **{name: each for name, each in node.items() if name != "$ref"}}
        node = {name: self._normal(each, enumerations) for name, each in node.items()}
        if node.pop(NEW_PASSWORD, False):
            node["minLength"] = self.shortest_password
        if node.get("type") == "integer" and "format" not in node:
            node["format"] = "int32" if node.get("maximum", LARGEST_INT32 + 1) <= LARGEST_INT32 else "int64"
        if node.get("default", "") is None:
            del node["default"]
        if node.get("additionalProperties") is True:  # the same, in a form that all generators of clients understand
            node["additionalProperties"] = {}
        return _with_null_type(node)

    def _example(self, schema: Schema) -> Any:
        """Return an example value; of an object its required properties, and those with a default value."""
        if "$ref" in schema:
            return self._example(self.named[schema["$ref"].removeprefix(REFERENCE)])
        if "examples" in schema or "default" in schema:
            return schema["examples"][0] if "examples" in schema else schema["default"]
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else schema["enum"][0]
        if schema.get("type") == "array":
            return [self._example(schema["items"])]
        if "properties" in schema:
            named = {*schema.get("required", ()), *(n for n, each in schema["properties"].items() if "default" in each)}
            return {name: self._example(each) for name, each in schema["properties"].items() if name in named}
        kinds = schema.get("type", "object")
        return EXAMPLES.get(schema.get("format", ""), EXAMPLES[kinds if isinstance(kinds, str) else kinds[0]])


CODE = "Stable; clients compare it."
MESSAGE = "In English: what to do next."
REPLAYED = "Always true: the answer to an earlier request is repeated, without the fields that are shown once."
NEXT_CURSOR = "The `cursor` of the next page; null on the last page."


def _optional(errors: Sequence[type[ServiceError]]) -> set[str]:
    """Return the names of the members that some of the errors lack, or may lack."""
    return {
        name
        for error in errors
        for name in {name for each in errors for name in each.extra}
        if name not in error.extra or get_origin(error.extra[name]) is NotRequired
    }


def _merged(schema: Schema, other: Schema) -> Schema:
    """Return a schema that allows the values of both, which have the same type."""
    common = {keyword: each for keyword, each in schema.items() if other.get(keyword) == each}
    enums = {"enum": [*schema["enum"], *other["enum"]]} if "enum" in schema and "enum" in other else {}
    return {**common, **enums} if schema != other else schema


def _stem(model: type[BaseModel]) -> str:
    return model.__name__.removesuffix("Response")


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _always(value: bool) -> Schema:
    """Return the schema of a flag. Without `const`: clients of OpenAPI Generator compare the flag with a text then."""
    return {"type": "boolean", "description": f"Always {str(value).lower()}.", "examples": [value]}


def _with_null_type(node: Schema) -> Schema:
    """Replace `anyOf: [T, null]` by the schema of T whose `type` also allows null."""
    match node:
        case {"anyOf": [{"type": str(name)} as schema, {"type": "null"}]}:
            # Keywords of the field override those of its type.
            merged = {**schema, **{keyword: each for keyword, each in node.items() if keyword != "anyOf"}}
            enumeration = {"enum": [*merged["enum"], None]} if "enum" in merged else {}
            return {**merged, **enumeration, "type": [name, "null"]}
    return node


def _never_null(node: Schema) -> Schema:
    """Return the schema of a property that is absent instead of null."""
    options = [each for each in node.get("anyOf", []) if each != {"type": "null"}]
    rest = {name: each for name, each in node.items() if name not in ("anyOf", "default")}
    return {**options[0], **rest} if len(options) == 1 else node


def _text(hint: Any) -> str:
    """Return the text of an annotated type. Not a docstring, because `python -OO` drops docstrings."""
    return next(each for each in get_args(hint)[1:] if isinstance(each, str))


class _WithoutDocstrings(GenerateJsonSchema):
    """Omits titles, which repeat the names, and docstrings, which are for developers and absent under `python -OO`.

    Every property of a response is required, except one that is absent instead of null.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> dict[str, Any]:
        generated = _untitled(super().model_schema(schema))
        model = schema["cls"]
        if issubclass(model, ResponseModel):
            absent = {
                name for name, each in model.model_fields.items() if model.leaves_out_none and each.default is None
            }
            properties = generated.get("properties", {})
            generated["properties"] = {
                name: _never_null(each) if name in absent else each for name, each in properties.items()
            }
            generated.pop("required", None)
            # Swagger 2.0 allows no empty list.
            if required := [name for name in properties if name not in absent | model.secrets()]:
                generated["required"] = required
        return generated

    def enum_schema(self, schema: Any) -> dict[str, Any]:
        return _untitled(super().enum_schema(schema))


def _untitled(generated: dict[str, Any]) -> dict[str, Any]:
    return {keyword: each for keyword, each in generated.items() if keyword not in ("description", "title")}
