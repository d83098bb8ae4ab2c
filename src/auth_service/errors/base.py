"""Error base class and the families that decide the HTTP status of an error answer."""

from typing import Any, ClassVar


class Refusal(Exception):
    """An error that a request is answered with.

    A family, below, lends the status: `auth_service.api.envelope.STATUS` has the numbers. Each error is one class of a
    family with its own `error_code` and `message`. Docstrings are for developers; `python -OO` drops them.
    """

    error_code: ClassVar[str]
    """What clients compare (`error.code`). Never changes."""
    message: ClassVar[str]
    """What clients read (`error.msg`): it says what to do next."""
    keeps_work: ClassVar[bool] = False
    """Whether the unit of work commits what it has written so far although the request fails."""

    def __init__(self, *, retry_after: float | None = None, **members: Any) -> None:
        """`members` join the error object of the answer; `retry_after`, in seconds, also becomes a header."""
        super().__init__(self.message)
        self.retry_after = retry_after
        self.members = members

    @classmethod
    def code(cls) -> str:
        """The error code."""
        return cls.error_code

    @classmethod
    def sentence(cls) -> str:
        """The error message."""
        return cls.message


class BadRequest(Refusal):
    """400: the request cannot be read."""


class Unauthenticated(Refusal):
    """401: the request needs valid credentials."""


class Forbidden(Refusal):
    """403: the credentials are valid but do not allow the request."""

    keeps_work = True  # the audit event about the denial is committed


class NotFound(Refusal):
    """404: the request is about something that does not exist."""


class MethodNotAllowed(Refusal):
    """405: the path exists, but not for this method."""


class Conflict(Refusal):
    """409: the request contradicts the current state."""


class ContentTooLarge(Refusal):
    """413: the body is too large."""


class UriTooLong(Refusal):
    """414: the URL is too long."""


class UnsupportedMediaType(Refusal):
    """415: the body is in a form that the service does not read."""


class Unprocessable(Refusal):
    """422: the request can be read, but its values are invalid."""


class RateLimited(Refusal):
    """429: a rate limit or a throttle is exceeded."""


class HeaderFieldsTooLarge(Refusal):
    """431: there are too many headers, or one of them is too large."""


class Internal(Refusal):
    """500: a defect of the service."""


class Unavailable(Refusal):
    """503: the service cannot answer for the moment."""
