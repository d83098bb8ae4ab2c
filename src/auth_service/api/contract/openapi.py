"""OpenAPI 3.1 document, generated from the contracts, the pydantic models and the error classes of the endpoints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from pydantic import BaseModel

from auth_service.api.contract.contract import Contract
from auth_service.api.contract.json_schemas import Schema, Schemas
from auth_service.api.contract.operations import Operation, by_status
from auth_service.api.http.cookies import Cookie
from auth_service.api.http.responses import FORM, JSON, has_challenge
from auth_service.api.security.authentication import TOKEN_HEADER, Access
from auth_service.api.security.session_cookies import ACCESS, REFRESH
from auth_service.errors import ServiceError
from auth_service.settings import Settings

PREFIX = "/api"
"""The part of every path that the server URL of the document has."""

BASELINE = by_status(Contract(summary="", body=BaseModel, limits=(None,), is_unsafe=True).all_errors())  # type: ignore[arg-type] # only its presence counts
"""The errors that most operations share: those of a signed-in user who sends a body, under a rate limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """What the document shows of the settings."""

    service_name: str
    shortest_password: int
    production: bool
    """Whether the names of cookies have the prefix `__Host-`."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the document shows of these settings."""
        return cls(
            service_name=settings.service_name,
            shortest_password=settings.password_min_length,
            production=settings.production,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Renderer:
    """Renders the operations of one document."""

    deployment: Deployment
    schemas: Schemas
    errors: dict[str, type[ServiceError]] = field(default_factory=dict)
    """The errors that operations list, by code."""

    def operation(self, operation: Operation) -> Schema:
        """Return the operation object."""
        contract = operation.contract
        rendered: Schema = {
            "operationId": contract.operation,
            "tags": [operation.tag],
            "summary": contract.summary,
            "description": f"{contract.access.sentence}\n{contract.description}".strip(),
            "security": security(contract.access),
            "parameters": self._parameters(operation),
        }
        if bodies := [model for each in contract.variants if (model := each.body or each.query_or_body)]:
            rendered["requestBody"] = self._request_body(contract, bodies)
        rendered["responses"] = {
            **self._successes(contract),
            **{str(status): self._error(operation, status) for status in operation.errors},
        }
        return rendered

    def _parameters(self, operation: Operation) -> list[Schema]:
        contract = operation.contract
        in_path = [
            {"name": name, "in": "path", "required": True, "schema": dict(schema)}
            for name, schema in operation.path_parameters.items()
        ]
        model = contract.query or contract.query_or_body
        in_query = self._query(model, required=contract.query is not None) if model else []
        in_header = [
            {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
            for name, description in operation.request_headers.items()
        ]
        in_cookie = [
            {"name": self._name(cookie), "in": "cookie", "description": cookie.content, "schema": {"type": "string"}}
            for cookie in contract.reads_cookies
        ]
        return [*in_path, *in_query, *in_header, REQUEST_ID, *in_cookie]

    def _query(self, model: type[BaseModel], *, required: bool) -> list[Schema]:
        schema = self.schemas.of_model(model, mode="validation")
        parameters = []
        for name, each in schema["properties"].items():
            description = {"description": each["description"]} if "description" in each else {}
            keywords = {keyword: value for keyword, value in each.items() if keyword != "description"}
            if isinstance(keywords.get("type"), list):  # a query string has no null
                keywords["type"] = keywords["type"][0]
            if not required:  # the page would send the example beside the body
                keywords.pop("examples", None)
            is_required = required and name in schema.get("required", [])
            parameters.append({"name": name, "in": "query", "required": is_required, **description, "schema": keywords})
        return parameters

    def _request_body(self, contract: Contract, models: Sequence[type[BaseModel]]) -> Schema:
        references = [self.schemas.request(model, is_form=contract.accepts_form) for model in models]
        schema = self.schemas.one_of(*references)
        required = contract.body is not None and bool(contract.body.model_json_schema().get("required"))
        media_types = [JSON, FORM] if contract.accepts_form else [JSON]
        return {"required": required, "content": {media_type: {"schema": schema} for media_type in media_types}}

    def _successes(self, contract: Contract) -> Schema:
        """Return the successes by status. Those of a variant have the same status if only the media type differs."""
        responses = {str(contract.status): self._success(contract)}
        if contract.variant is not None:
            variant = contract.variant.contract
            success = _stream(contract.variant.media_types) if variant.streams else self._success(variant)
            first = responses.setdefault(str(variant.status), success)
            first["content"] = {**first["content"], **success["content"]}
            first["headers"] = {**first["headers"], **success["headers"]}
        return responses

    def _success(self, contract: Contract) -> Schema:
        schema = self.schemas.success(contract)
        if contract.accepts_form and contract.data:
            schema = self.schemas.one_of(schema, self.schemas.response(contract.data))
        headers = {name: _header("string") for name in contract.headers}
        return {
            "description": "Success.",
            "headers": {**COMMON_HEADERS, **self._set_cookie(contract.sets_cookies), **headers},
            "content": {JSON: {"schema": schema}},
        }

    def _error(self, operation: Operation, status: int) -> Schema:
        errors = operation.errors[status]
        self.errors.update({error.code: error for error in errors})
        headers: Schema = dict(COMMON_HEADERS)
        if any(has_challenge(error) for error in errors):
            headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
        if any("retry_after" in error.extra for error in errors):
            headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
        if status == 401 and REFRESH in operation.contract.reads_cookies:
            headers |= self._set_cookie([ACCESS, REFRESH])
        elif status == 401:
            headers |= self._set_cookie(each for each in operation.contract.sets_cookies if each.is_set_on_401)
        examples = {error.code: {"$ref": f"#/components/examples/{error.code}"} for error in errors}
        schema = self.schemas.error(_error_name(operation, status), errors)
        return {
            "description": "\n".join(f"- `{error.code}`: {error.message}" for error in errors),
            "headers": headers,
            "content": {JSON: {"schema": schema, "examples": examples}},
        }

    def _name(self, cookie: Cookie) -> str:
        return cookie.name_in(production=self.deployment.production)

    def _set_cookie(self, cookies: Iterable[Cookie]) -> Schema:
        names = ", ".join(f"`{self._name(cookie)}`" for cookie in cookies)
        return {"Set-Cookie": {"description": f"Sets or deletes {names}.", **_header("string")}} if names else {}

    def security_schemes(self) -> Schema:
        """Return the security schemes, that of access tokens first."""
        cookie = {"type": "apiKey", "in": "cookie", "name": self._name(ACCESS)}
        return {**SECURITY_SCHEMES, "cookie": {**cookie, "description": ACCESS.content}}


REQUEST_ID: Schema = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "8 to 64 characters of `A-Za-z0-9._-`: the id of the request in the log and in the response. "
    "Any other value is replaced by a random one.",
    "schema": {"type": "string"},
}

SECURITY_SCHEMES: Mapping[str, Schema] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of a sign-in, for 15 minutes.",
    },
    "service": {"type": "http", "scheme": "bearer", "description": "A service key (`svc_…`)."},
    "service_basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The service key as the password, with any user name (RFC 6749, 2.3.1).",
    },
    "service_header": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER, "description": "A service key."},
}


def security(access: Access) -> list[dict[str, list[str]]]:
    """Return the alternatives by which a request is authorized.

    None for an open endpoint that also accepts a service key: generated clients would require one. The header `X-TOKEN`
    is a parameter of it.
    """
    schemes = ["bearer", "cookie"] if access.needs_token else []
    if access.takes_service_key and not access.is_open:
        schemes += ["service", "service_basic", "service_header"]
    return [{scheme: []} for scheme in schemes]


def _error_name(operation: Operation, status: int) -> str:
    """Return the name of the schema of an error response. Operations with the same errors share a schema if possible.

    It is named after a single error, after the status of common errors, after one error besides these, or after the
    access rule if no error depends on the operation.
    """
    errors = operation.errors[status]
    if len(errors) == 1:
        return f"{errors[0].__name__}Response"
    family = _family(errors[0])
    common = set(BASELINE.get(status, ()))
    if common == set(errors):
        return f"{family}Response"
    if common < set(errors) and len(errors) == len(common) + 1:
        (more,) = set(errors) - common
        return f"{family}With{more.__name__}Response"
    contract = operation.contract
    implied = by_status(replace(contract, errors=(), variant=None).all_errors())
    # The first word of a rule: `permission` of `permission users:read`.
    owner = contract.access.name.partition(" ")[0] if implied.get(status) == errors else contract.operation
    return f"{_pascal(owner)}{family}Response"


def _family(error: type[ServiceError]) -> str:
    """Return the name of the class that decides the HTTP status."""
    return next(each.__name__ for each in error.__mro__ if not hasattr(each, "code"))


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _stream(media_types: Iterable[str]) -> Schema:
    """Return the response object of data that is sent as a file."""
    content = {media_type: {"schema": {"type": "string"}} for media_type in media_types}
    headers = {"Content-Disposition": _header("string"), "Link": {"$ref": "#/components/headers/Link"}}
    return {"description": "Success.", "headers": {**COMMON_HEADERS, **headers}, "content": content}


def _header(kind: str) -> Schema:
    return {"schema": {"type": kind}}


COMMON_HEADERS: Mapping[str, Schema] = {
    name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "Vary")
}

HEADERS: Mapping[str, Schema] = {
    "X-Request-Id": {"description": "The id of the request in the log.", **_header("string")},
    "Vary": {
        "description": "Request headers that the answer depends on, such as `Origin` (CORS).",
        **_header("string"),
    },
    "Retry-After": {
        "description": "The seconds of `error.retry_after`.",
        "schema": {"type": "integer", "format": "int64"},
    },
    "Link": {"description": 'The next part, with `rel="next"`; absent on the last one.', **_header("string")},
    "WWW-Authenticate": {
        "description": "The required authentication (RFC 6750; of `insufficient_user_authentication`: RFC 9470).",
        **_header("string"),
    },
}


def document(
    operations: Iterable[Operation], *, deployment: Deployment, description: str, tags: Mapping[str, str]
) -> Schema:
    """Return the document. `tags` are the groups of operations with their descriptions."""
    schemas = Schemas(shortest_password=deployment.shortest_password)
    renderer = Renderer(deployment=deployment, schemas=schemas)
    paths: dict[str, Schema] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = renderer.operation(operation)
    schemas.problem()
    examples = {code: {"value": schemas.example_of_error(error)} for code, error in sorted(renderer.errors.items())}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{deployment.service_name}: authentication",
            "version": "1",
            "description": description.strip(),
        },
        "servers": [{"url": PREFIX}],
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.named.items())),
            "examples": examples,
            "headers": dict(HEADERS),
            "securitySchemes": renderer.security_schemes(),
        },
    }
