"""Error base class and the families that decide the HTTP status of an error answer."""

from typing import Any, ClassVar


class ServiceError(Exception):
    """An error that a request is answered with.

    A family, below, lends the status: `auth_service.api.http.responses.STATUS` has the numbers. Each error is one class
    of a family with its own `code` and `message`. Docstrings are for developers; `python -OO` drops them.
    """

    code: ClassVar[str]
    """What clients compare (`error.code`). Never changes."""
    message: ClassVar[str]
    """What clients read (`error.msg`): it says what to do next."""
    commit_on_raise: ClassVar[bool] = False
    """Whether the unit of work commits what it has written so far although the request fails."""

    def __init__(self, *, retry_after: float | None = None, **members: Any) -> None:
        """`members` join the error object of the answer; `retry_after`, in seconds, also becomes a header."""
        super().__init__(self.message)
        self.retry_after = retry_after
        self.members = members


class BadRequest(ServiceError):
    """400: the request cannot be read."""


class Unauthenticated(ServiceError):
    """401: the request needs valid credentials."""


class Forbidden(ServiceError):
    """403: the credentials are valid but do not allow the request."""

    commit_on_raise = True  # the audit event about the denial is committed


class NotFound(ServiceError):
    """404: the request is about something that does not exist."""


class MethodNotAllowed(ServiceError):
    """405: the path exists, but not for this method."""


class Conflict(ServiceError):
    """409: the request contradicts the current state."""


class ContentTooLarge(ServiceError):
    """413: the body is too large."""


class UriTooLong(ServiceError):
    """414: the URL is too long."""


class UnsupportedMediaType(ServiceError):
    """415: the body is in a form that the service does not read."""


class Unprocessable(ServiceError):
    """422: the request can be read, but its values are invalid."""


class RateLimited(ServiceError):
    """429: a rate limit or a throttle is exceeded."""


class HeaderFieldsTooLarge(ServiceError):
    """431: there are too many headers, or one of them is too large."""


class Internal(ServiceError):
    """500: a defect of the service."""


class Unavailable(ServiceError):
    """503: the service cannot answer for the moment."""
