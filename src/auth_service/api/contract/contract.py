"""Endpoint contract: access rule, request and response models, status, rate limits and errors of one endpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from auth_service.api.http.cookies import Cookie
from auth_service.api.http.schemas import ResponseModel
from auth_service.api.security.authentication import Access, signed_in
from auth_service.api.security.rate_limits import ClientRateLimit
from auth_service.errors import (
    BodyNotJson,
    BodyTooLarge,
    ContentEncodingUnsupported,
    ContentTypeUnsupported,
    CrossSite,
    DatabaseReadOnly,
    DatabaseUnavailable,
    HttpRequestInvalid,
    IdempotencyKeyReused,
    ServiceBusy,
    ServiceError,
    TooManyRequests,
    ValidationFailed,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What an endpoint requires, accepts and returns. `endpoint` enforces the contract, `openapi` documents it."""

    operation: str = ""
    """The `operationId` of the documents: a verb and a noun. Clients are generated from it, so it never changes."""
    summary: str
    """The title on the Swagger page, without a full stop. Not the docstring, because `python -OO` drops docstrings."""
    description: str = ""
    """Further text of the Swagger page."""
    access: Access = signed_in
    """The access rule. The default requires an access token, so an open endpoint has to declare that it is open."""
    query: type[BaseModel] | None = None
    """The model of the query string. Without one, a query string is an error."""
    ignores_query: bool = False
    """Whether any query string is accepted and ignored: a gateway may forward the one of the original request."""
    body: type[BaseModel] | None = None
    """The model of the JSON body."""
    accepts_form: bool = False
    """Whether the body may also be a URL-encoded form, which RFC 7662 requires; the response is then bare `data`."""
    query_or_body: type[BaseModel] | None = None
    """The model of parameters that the client sends in the query string or in the JSON body."""
    data: type[ResponseModel] | None = None
    """The model of `data` in the response."""
    items: type[ResponseModel] | None = None
    """The model of the items, if `data` is a list; the view then returns a `Page`."""
    streams: bool = False
    """Whether the view returns a `Stream`, which is sent without the envelope."""
    headers: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    """Response headers: the name, and a function that computes the value from the result of the view."""
    reads_cookies: Sequence[Cookie] = ()
    """The cookies that the view reads, apart from the access token."""
    sets_cookies: Sequence[Cookie] = ()
    """The cookies that the view sets or deletes."""
    done: bool = False
    """Whether the response has `"result": "Ok"`."""
    status: int = 200
    """The HTTP status of a success."""
    limits: Sequence[ClientRateLimit] = ()
    """The rate limits that count every authorized request."""
    errors: Sequence[type[ServiceError]] = ()
    """The errors that the service behind the view raises."""
    is_unsafe: bool = False
    """Whether the method is unsafe (RFC 9110, 9.2.1), so that the CSRF check applies; the decorator sets it."""

    @property
    def needs_csrf_header(self) -> bool:
        """Whether session cookies can authenticate the request or are set, which requires `CSRF_HEADER`."""
        return self.is_unsafe and CrossSite in (*self.errors, *self.access.errors)

    @property
    def has_secrets(self) -> bool:
        """Whether `data` has fields that are shown once."""
        return self.data is not None and bool(self.data.secrets())

    variant: "Variant | None" = None
    """Another request on the same path and method, which its JSON body or its `Accept` header selects."""

    @property
    def variants(self) -> list["Contract"]:
        """The contracts of all requests on this path and method, this one first."""
        return [self] if self.variant is None else [self, self.variant.contract]

    def all_errors(self) -> list[type[ServiceError]]:
        """Return every error that the endpoint can answer with: `errors` and those that the other fields imply."""
        possible: list[type[ServiceError]] = [*self.errors, *self.access.errors]
        if self.variant is not None:
            possible += replace(self.variant.contract, is_unsafe=self.is_unsafe).all_errors()
        possible += [DatabaseUnavailable, DatabaseReadOnly, ServiceBusy]
        if self.body or self.query_or_body:
            possible += [
                HttpRequestInvalid,
                BodyNotJson,
                BodyTooLarge,
                ContentTypeUnsupported,
                ContentEncodingUnsupported,
            ]
        if self.is_unsafe and not self.access.requires_service_key:
            possible.append(CrossSite)  # `check_origin`
        possible.append(ValidationFailed)
        if self.access.permission is not None:
            possible.append(IdempotencyKeyReused)
        if self.limits:
            possible.append(TooManyRequests)
        return list(dict.fromkeys(possible))


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A request with its own contract on the path and method of another one.

    For clients of an earlier interface, and for other media types. In OpenAPI 3.1 the operation has the bodies and the
    media types of both. Swagger 2.0 allows one: the `description` of the other contract describes the second.
    """

    field: str | None = None
    """The field of the JSON body that selects this request."""
    media_types: Sequence[str] = ()
    """The media types of the response, one of which selects this request if the client prefers it to JSON."""
    contract: Contract
    view: Callable[..., Any]
    """Takes the resource and the arguments of the request, as a method of the resource does."""
