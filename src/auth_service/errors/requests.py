"""Errors of any request: malformed HTTP, invalid body or parameters, rate limit, unavailable database or Redis."""

from typing import Annotated

from auth_service.errors.base import (
    BadRequest,
    ContentTooLarge,
    HeaderFieldsTooLarge,
    Internal,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    Unavailable,
    Unprocessable,
    UnsupportedMediaType,
    UriTooLong,
    members,
)
from auth_service.errors.fields import FieldError


class HttpRequestInvalid(BadRequest):
    """The worker or werkzeug could not read the request, or it did not arrive within the worker's deadline."""

    code = "bad_request"
    message = "The request is not valid HTTP or did not arrive in time; send it again as one complete request."


class BodyNotJson(BadRequest):
    """The body is no JSON object, is not UTF-8, or repeats a name: parsers disagree about which value counts."""

    code = "body_not_json"
    message = "The body is not valid; send one JSON object in UTF-8 in which every name occurs once."


class PathUnknown(NotFound):
    """No route matches the path."""

    code = "path_unknown"
    message = "This path does not exist; check it against the documentation of the API."


class MethodUnsupported(MethodNotAllowed):
    """The route has no view for the method; the middleware adds the `Allow` header."""

    code = "method_not_allowed"
    message = "This path does not support this method; use one that the Allow header lists."


class BodyTooLarge(ContentTooLarge):
    """The body exceeds `LARGEST_BODY` of `api/http/parsing.py`; nginx has the same limit."""

    code = "body_too_large"
    message = "The body is too large; send at most 16 KiB."


class UrlTooLong(UriTooLong):
    """The request line exceeds gunicorn's `limit_request_line`; nginx has the same limit."""

    code = "url_too_long"
    message = "The URL is too long; send at most 4 KiB."


class HeadersTooLarge(HeaderFieldsTooLarge):
    """The headers exceed gunicorn's `limit_request_fields` or `limit_request_field_size`; nginx has the same limits."""

    code = "headers_too_large"
    message = "The headers are too large; send at most 50, each of at most 8 KiB."


class ContentTypeUnsupported(UnsupportedMediaType):
    """The body is not declared as JSON. A form of any page can send some other types without a preflight (CSRF)."""

    code = "content_type_unsupported"
    message = "The body has another content type; send it as application/json."


class ContentEncodingUnsupported(UnsupportedMediaType):
    """The body is compressed. It is never decompressed, which rules out decompression bombs."""

    code = "content_encoding_unsupported"
    message = "The body has a Content-Encoding; send it without one."


class ValidationFailed(Unprocessable):
    """Values are invalid."""

    code = "validation_failed"
    message = "The request is invalid; correct what `fields` lists and send it again."
    extra = members(fields=Annotated[list[FieldError], "The invalid values."])

    def __init__(self, *fields: FieldError) -> None:
        super().__init__(fields=list(fields))


class TooManyRequests(RateLimited):
    """A rate limit of the client network is exceeded (`api/security/rate_limits.py`)."""

    code = "too_many_requests"
    message = "The rate limit of this network is reached; send the request again after `retry_after` seconds."


class InternalError(Internal):
    """An unexpected exception; the log has its traceback under the request id."""

    code = "internal_error"
    message = "An internal error occurred; try again later and report the X-Request-Id of this answer if it persists."


class DatabaseUnavailable(Unavailable):
    """PostgreSQL did not answer in time or broke the connection; the request may have been committed."""

    code = "database_away"
    message = "The database did not answer in time; check whether the request took effect, then send it again."


class DatabaseReadOnly(DatabaseUnavailable):
    """PostgreSQL refuses writes (standby, demoted primary, full disk), but answers reads."""

    code = "database_read_only"
    message = (
        "The database accepts no changes and has changed nothing; send the request again after `retry_after` seconds."
    )


class RedisUnavailable(Unavailable):
    """Redis did not answer in time or refused the command; codes and counters may have been written."""

    code = "redis_away"
    message = "Redis did not answer in time; check whether the request took effect, then send it again."


class ServiceBusy(Unavailable):
    """A queue is full: password hashes, database connections or Redis connections."""

    code = "service_busy"
    message = "The service is at capacity and has changed nothing; send the request again after `retry_after` seconds."


class KeysSealed(Unavailable):
    """`KEYRING_KEY` cannot decrypt the signing keys. Retries do not help: an operator has to correct the setting."""

    code = "keys_sealed"
    message = "The service cannot sign access tokens; report this to its operator."


class NotReady(Unavailable):
    """A dependency fails, a migration is pending or the service stops; the log has the reason."""

    code = "not_ready"
    message = "The service is not ready; send the request again after `retry_after` seconds."
