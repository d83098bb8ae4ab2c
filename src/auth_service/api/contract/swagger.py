"""Swagger 2.0 document: the OpenAPI 3.1 document in the terms of the older version, as far as it has them.

Swagger 2.0 has no cookies, no bearer authentication, no alternatives of schemas and no null type. Extensions (`x-…`)
and descriptions say what is missing.
"""

from collections.abc import Mapping
from typing import Any

from auth_service.api.contract.json_schemas import REFERENCE, Schema
from auth_service.api.http.responses import JSON

METHODS = ("get", "post", "put", "patch", "delete")


def from_openapi(document: Schema) -> Schema:
    """Return the Swagger 2.0 document with the operations of an OpenAPI 3.1 document."""
    components = document["components"]
    schemes = {
        name: converted for name, each in components["securitySchemes"].items() if (converted := _security_scheme(each))
    }
    converter = _Converter(components, frozenset(schemes))
    paths = {path: converter.path(methods) for path, methods in document["paths"].items()}
    return {
        "swagger": "2.0",
        "info": document["info"],
        "basePath": document["servers"][0]["url"],
        "consumes": [JSON],
        "produces": [JSON],
        "tags": document["tags"],
        "securityDefinitions": schemes,
        "paths": paths,
        "definitions": converter.definitions(),
    }


def _security_scheme(scheme: Schema) -> Schema | None:
    """Return a security scheme; None for a cookie."""
    description = {"description": scheme["description"]}
    match scheme:
        case {"type": "http", "scheme": "bearer"}:
            description = {"description": f"`Bearer ` and the token. {scheme['description']}"}
            return {"type": "apiKey", "in": "header", "name": "Authorization", **description}
        case {"type": "http", "scheme": "basic"}:
            return {"type": "basic", **description}
        case {"type": "apiKey", "in": "header"}:
            return scheme
    return None


class _Converter:
    """Converts the parts of one document."""

    def __init__(self, components: Schema, schemes: frozenset[str]) -> None:
        self._components = components
        self._schemes = schemes

    def path(self, methods: Mapping[str, Schema]) -> Schema:
        """Return the operations of a path."""
        return {method: self._operation(each) for method, each in methods.items()}

    def _operation(self, operation: Schema) -> Schema:
        parameters = [self._parameter(each) for each in operation["parameters"] if each["in"] != "cookie"]
        copied = {name: operation[name] for name in ("operationId", "tags", "summary", "description")}
        if required := [each for each in operation["security"] if each.keys() <= self._schemes]:
            copied["security"] = required
        if body := operation.get("requestBody"):
            content_types = list(body["content"])
            schema = self._first(body["content"][JSON]["schema"])
            parameters.append({"name": "payload", "in": "body", "required": body["required"], "schema": schema})
            if content_types != [JSON]:
                copied["consumes"] = content_types
        responses = {status: self._response(each) for status, each in operation["responses"].items()}
        return {**copied, "parameters": parameters, "responses": responses}

    def _parameter(self, parameter: Schema) -> Schema:
        schema = self.schema(parameter["schema"])
        # A parameter of 2.0 has its type beside its name, and no example.
        keywords = {keyword: each for keyword, each in schema.items() if keyword not in ("example", "x-nullable")}
        rest = {keyword: each for keyword, each in parameter.items() if keyword not in ("schema", "required")}
        return {"type": "string", **keywords, **rest, "required": parameter.get("required", False)}

    def _response(self, response: Schema) -> Schema:
        media = response["content"][JSON]
        headers = {name: self._header(each) for name, each in response["headers"].items()}
        converted = {
            "description": response["description"],
            "headers": headers,
            "schema": self.schema(media["schema"]),
        }
        if examples := media.get("examples"):
            reference = next(iter(examples.values()))["$ref"]
            converted["examples"] = {JSON: self._components["examples"][reference.rpartition("/")[2]]["value"]}
        return converted

    def _header(self, header: Schema) -> Schema:
        if isinstance(header.get("$ref"), str):
            header = self._components["headers"][header["$ref"].rpartition("/")[2]]
        description = {"description": header["description"]} if "description" in header else {}
        converted: Schema = {**header["schema"], **description}
        return converted

    def _options(self, schema: Schema) -> list[str]:
        """Return the names of the schemas of which a referenced one is one; its own name if it is a single one."""
        name = schema["$ref"].removeprefix(REFERENCE)
        options = self._components["schemas"][name].get("oneOf", [schema])
        return [each["$ref"].removeprefix(REFERENCE) for each in options]

    def _first(self, schema: Schema) -> Schema:
        """Return the first of several bodies: 2.0 allows one."""
        return {"$ref": f"#/definitions/{self._options(schema)[0]}"}

    def definitions(self) -> Schema:
        """Return the named schemas."""
        return {name: self._definition(each) for name, each in self._components["schemas"].items()}

    def _definition(self, schema: Schema) -> Schema:
        """Return a named schema; one of several becomes a schema with the properties of all."""
        if "oneOf" not in schema:
            converted: Schema = self.schema(schema)
            return converted
        names = [each["$ref"].removeprefix(REFERENCE) for each in schema["oneOf"]]
        properties: Schema = {}
        for each in names:
            properties |= self.schema(self._components["schemas"][each])["properties"]
        return {
            "type": "object",
            "description": f"One of {', '.join(f'`{name}`' for name in names)}.",
            "properties": properties,
            "x-oneOf": [{"$ref": f"#/definitions/{name}"} for name in names],
        }

    def schema(self, node: Any) -> Any:
        """Return a schema in the keywords of 2.0."""
        if isinstance(node, list):
            return [self.schema(item) for item in node]
        if not isinstance(node, dict):
            return node
        if isinstance(reference := node.get("$ref"), str):
            return {"$ref": reference.replace(REFERENCE, "#/definitions/")}
        converted = {
            name: {inner: self.schema(each) for inner, each in value.items()}
            if name == "properties"
            else value
            if name in ("examples", "default")
            else self.schema(value)
            for name, value in node.items()
        }
        return _keywords(converted)


def _keywords(schema: Schema) -> Schema:
    """Replace the keywords of one schema that 2.0 does not have."""
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "examples" in schema:
        schema["example"] = schema.pop("examples")[0]
    if schema.get("type") == "null":
        schema |= {"type": "string", "x-nullable": True, "description": "Always null."}
    if isinstance(schema.get("anyOf"), list):  # a reference or null
        schema |= {"allOf": [each for each in schema.pop("anyOf") if "$ref" in each], "x-nullable": True}
    if isinstance(kinds := schema.get("type"), list):
        schema |= {"type": next(each for each in kinds if each != "null"), "x-nullable": True}
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
    return schema
