"""JSON responses: the envelope of success and error, and the HTTP status of each error family."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app

from auth_service import errors
from auth_service.errors import ServiceError

STATUS: dict[type[ServiceError], int] = {
    errors.BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.ContentTooLarge: 413,
    errors.UriTooLong: 414,
    errors.UnsupportedMediaType: 415,
    errors.Unprocessable: 422,
    errors.RateLimited: 429,
    errors.HeaderFieldsTooLarge: 431,
    errors.Internal: 500,
    errors.Unavailable: 503,
}
"""The HTTP status of each family of errors."""

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

CHALLENGE: dict[type[ServiceError], str] = {
    errors.TokenInvalid: 'Bearer realm="auth", error="invalid_token"',
    errors.TokenExpired: 'Bearer realm="auth", error="invalid_token"',
    errors.ServiceKeyInvalid: 'Bearer realm="auth", error="invalid_token"',
    errors.ScopeMissing: 'Bearer realm="auth", error="insufficient_scope"',
    errors.PermissionMissing: 'Bearer realm="auth", error="insufficient_scope"',
}
"""The value of `WWW-Authenticate` for errors that RFC 6750 (3) defines; other 401 errors have no `error` parameter."""


def status_of(error: type[ServiceError]) -> int:
    """Return the HTTP status of an error class: that of its family."""
    return next(STATUS[family] for family in error.__mro__ if family in STATUS)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLink:
    """The pagination member of a list response. `next_cursor` is None on the last page."""

    next_cursor: str | None


def success_response(
    *, status: int, data: bytes | None, done: bool, page: PageLink | None = None, replayed: bool = False
) -> Response:
    """Return a success in its envelope.

    `data` is serialised JSON; `done` adds `"result": "Ok"`; `page` adds `next_cursor`, if `data` is a list; `replayed`
    says that secrets of the first answer are missing.
    """
    members = [b'"success":true']
    if replayed:
        members.append(b'"replayed":true')
    if done:
        members.append(b'"result":"Ok"')
    if data is not None:
        members.append(b'"data":' + data)
    if page is not None:
        members.append(b'"next_cursor":' + json.dumps(page.next_cursor).encode())
    return Response(b"{" + b",".join(members) + b"}\n", status=status, content_type=JSON)


def bare_response(data: bytes) -> Response:
    """Return `data`, serialised JSON, without the envelope, for clients of a standard such as RFC 7662."""
    return Response(data, status=200, content_type=JSON)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """Data that is sent in pieces, because it is too long for the memory."""

    content_type: str
    chunks: Iterator[bytes]
    headers: Mapping[str, str]


def streamed_response(stream: Stream) -> Response:
    """Return a response whose pieces are made while the client reads them.

    A failure in the middle ends the connection without the last chunk, so that the client notices it.
    """
    chunks = _within(current_app.app_context, stream.chunks)
    return Response(chunks, headers=stream.headers, content_type=stream.content_type)


def _within(context: Callable[[], AbstractContextManager[Any]], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Make each piece in the context of the application, which has ended when the server sends the response."""
    while True:
        with context():
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def error_response(error: ServiceError, *, body: str, content_type: str) -> Response:
    """Return the response to an error, with `Retry-After`, `WWW-Authenticate` or `Accept-Encoding` where it applies."""
    response = Response(body, status=status_of(type(error)), content_type=content_type)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(_whole_seconds(error.retry_after))
    if has_challenge(type(error)):
        response.headers["WWW-Authenticate"] = _challenge(error)
    if isinstance(error, errors.ContentEncodingUnsupported):
        response.headers["Accept-Encoding"] = "identity"  # RFC 9110, 15.5.16
    return response


def has_challenge(error: type[ServiceError]) -> bool:
    """Whether the response to an error has the header `WWW-Authenticate`."""
    return issubclass(error, (errors.Unauthenticated, errors.ScopeMissing, errors.PermissionMissing))


def _challenge(error: ServiceError) -> str:
    if isinstance(error, errors.InsufficientUserAuthentication):  # RFC 9470, 3
        level, age = error.members["acr_values"], error.members["max_age"]
        return f'Bearer error="{error.code}", acr_values="{level}", max_age={age}'
    return CHALLENGE.get(type(error), 'Bearer realm="auth"')


def error_body(error: ServiceError) -> str:
    """Return the JSON body of an error response."""
    return json.dumps({"success": False, "result": None, "error": error_members(error)}) + "\n"


def error_members(error: ServiceError) -> dict[str, Any]:
    """Return the members of the error object."""
    members: dict[str, Any] = {"code": error.code, "msg": error.message, **error.members}
    if error.retry_after is not None:
        members["retry_after"] = _whole_seconds(error.retry_after)
    return members


def _whole_seconds(retry_after: float) -> int:
    return max(1, math.ceil(retry_after))
