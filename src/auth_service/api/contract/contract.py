"""Endpoint contract: access rule, request and response models, status, rate limits and errors of one endpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.security.authentication import Access, signed_in
from auth_service.api.security.rate_limits import ClientRateLimit
from auth_service.errors import (
    BodyNotJson,
    BodyTooLarge,
    ContentEncodingUnsupported,
    ContentTypeUnsupported,
    DatabaseUnavailable,
    HttpRequestInvalid,
    ServiceBusy,
    ServiceError,
    TooManyRequests,
    ValidationFailed,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What an endpoint requires, accepts and answers. `endpoint` enforces it and `swagger` documents it."""

    summary: str
    """The line of the Swagger page, without a full stop. Explicit, because `python -OO` drops docstrings."""
    description: str = ""
    """What else the Swagger page says about the endpoint."""
    access: Access = signed_in
    """The default is closed, so that an open endpoint shows in the diff."""
    query: type[BaseModel] | None = None
    ignores_query: bool = False
    """Whether an unexpected query string is accepted: a gateway may pass on the one of the original request."""
    body: type[BaseModel] | None = None
    form_too: bool = False
    """Whether the body may also be a form, as libraries for RFC 7662 send it; the answer is then `data` alone."""
    query_or_body: type[BaseModel] | None = None
    data: type[ResponseModel] | None = None
    items: type[ResponseModel] | None = None
    """The items of a list; the view returns a `Page`."""
    headers: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    """Response headers, each made from the result of the view."""
    done: bool = False
    """Whether the answer has `"result": "Ok"`."""
    status: int = 200
    limits: Sequence[ClientRateLimit] = ()
    errors: Sequence[type[ServiceError]] = ()
    """The errors of the endpoint itself."""

    def all_errors(self) -> list[type[ServiceError]]:
        """Every error that this endpoint can answer with: its own and those that follow from the other fields."""
        every: list[type[ServiceError]] = [*self.errors, *self.access.errors, DatabaseUnavailable, ServiceBusy]
        if self.body or self.query_or_body:
            every += [
                HttpRequestInvalid,
                BodyNotJson,
                BodyTooLarge,
                ContentTypeUnsupported,
                ContentEncodingUnsupported,
            ]
        every.append(ValidationFailed)
        if self.limits:
            every.append(TooManyRequests)
        return list(dict.fromkeys(every))
