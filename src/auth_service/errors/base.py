"""ServiceError, the base class of all errors, and the families that decide the HTTP status."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, NotRequired

RETRY_AFTER = Annotated[int, "Seconds after which to send the request again."]


def members(**types: Any) -> Mapping[str, Any]:
    """Return the extra members of an error by name; `Annotated` adds the description to a type."""
    return MappingProxyType(types)


class ServiceError(Exception):
    """An error response to a request.

    Each error is one subclass of a family below, with its own `code` and `message`. `STATUS` in `api/http/responses.py`
    maps families to HTTP statuses. Docstrings are for developers; `python -OO` drops them.
    """

    code: ClassVar[str]
    """`error.code` of the response, which clients compare. Never changes."""
    message: ClassVar[str]
    """`error.msg` of the response: one sentence that tells the client what to do next."""
    commit_on_raise: ClassVar[bool] = False
    """Whether the unit of work commits its writes although the request fails, such as an audit event."""
    extra: ClassVar[Mapping[str, Any]] = members()
    """The members of the error object beside `code` and `msg`: name and type. The documents of the API list them."""

    def __init__(self, *, retry_after: float | None = None, **members: Any) -> None:
        """`members` are those of `extra`; `retry_after`, in seconds, is one of them and sets `Retry-After`."""
        super().__init__(self.message)
        self.retry_after = retry_after
        self.members = members


class BadRequest(ServiceError):
    """400: the request is malformed."""


class Unauthenticated(ServiceError):
    """401: the request needs valid credentials."""


class Forbidden(ServiceError):
    """403: the credentials are valid but do not allow the request."""

    commit_on_raise = True  # the audit event about the denial is committed


class NotFound(ServiceError):
    """404: the resource of the request does not exist."""


class MethodNotAllowed(ServiceError):
    """405: the path does not support the method."""


class Conflict(ServiceError):
    """409: the request contradicts the current state."""


class ContentTooLarge(ServiceError):
    """413: the body is too large."""


class UriTooLong(ServiceError):
    """414: the URL is too long."""


class UnsupportedMediaType(ServiceError):
    """415: the service does not support the media type or the encoding of the body."""


class Unprocessable(ServiceError):
    """422: the request is well-formed, but its values are invalid."""


class RateLimited(ServiceError):
    """429: a rate limit or a throttle is exceeded."""

    extra = members(retry_after=RETRY_AFTER)


class HeaderFieldsTooLarge(ServiceError):
    """431: there are too many headers, or one of them is too large."""


class Internal(ServiceError):
    """500: a defect of the service."""


class Unavailable(ServiceError):
    """503: the service is temporarily unavailable."""

    extra = members(retry_after=NotRequired[RETRY_AFTER])
