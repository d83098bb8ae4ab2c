"""The one shape of all answers, and the one table of statuses."""

import json
import math
from dataclasses import dataclass
from typing import Any

from flask import Response

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
"""The status of each family of errors."""

JSON = "application/json"

CHALLENGE: dict[type[ServiceError], str] = {
    errors.TokenInvalid: 'Bearer realm="auth", error="invalid_token"',
    errors.ServiceKeyInvalid: 'Bearer realm="auth", error="invalid_token"',
    errors.ScopeMissing: 'Bearer realm="auth", error="insufficient_scope"',
}
"""What `WWW-Authenticate` says (RFC 6750, 3)."""


def status_of(refusal: type[ServiceError]) -> int:
    """The status that a refusal is answered with."""
    return next(STATUS[kind] for kind in refusal.__mro__ if kind in STATUS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """Where the next page of a list begins; None after the last one."""

    following: str | None


def answer(*, status: int, data: bytes | None, done: bool, page: Cursor | None = None) -> Response:
    """A success. `data` is JSON already; `done` says that a command was carried out; `page` that data is a list."""
    members = [b'"success":true']
    if done:
        members.append(b'"result":"Ok"')
    if data is not None:
        members.append(b'"data":' + data)
    if page is not None:
        members.append(b'"next_cursor":' + json.dumps(page.following).encode())
    return Response(b"{" + b",".join(members) + b"}\n", status=status, content_type=JSON)


def plain(data: bytes) -> Response:
    """A success without an envelope, for programs that know the shape of somebody's standard and not ours."""
    return Response(data, status=200, content_type=JSON)


def refused(refusal: ServiceError) -> Response:
    """A refusal, with `Retry-After` where coming back helps."""
    response = Response(error_body(refusal), status=status_of(type(refusal)), content_type=JSON)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(_whole_seconds(refusal.retry_after))
    if isinstance(refusal, (errors.Unauthenticated, errors.ScopeMissing)):
        response.headers["WWW-Authenticate"] = CHALLENGE.get(type(refusal), 'Bearer realm="auth"')
    if isinstance(refusal, errors.ContentEncodingUnsupported):
        response.headers["Accept-Encoding"] = "identity"  # RFC 9110, 15.5.16
    return response


def error_body(refusal: ServiceError) -> str:
    """The body of a refusal."""
    error: dict[str, Any] = {"code": refusal.code, "msg": refusal.message, **refusal.members}
    if refusal.retry_after is not None:
        error["retry_after"] = _whole_seconds(refusal.retry_after)
    return json.dumps({"success": False, "result": None, "error": error}) + "\n"


def _whole_seconds(retry_after: float) -> int:
    return max(1, math.ceil(retry_after))
