"""Middleware: request id, error handler, security headers, CORS, request log and metrics of every response."""

import logging
import re
import uuid

from flask import Flask, Response, g, request
from werkzeug.exceptions import BadHost, HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response as AnyResponse

from auth_service import clock, errors, logs
from auth_service.api.current import settings
from auth_service.api.http import cookies, metrics
from auth_service.api.http.parsing import LARGEST_BODY
from auth_service.api.http.problems import requested_form
from auth_service.api.http.responses import error_response
from auth_service.errors import ServiceError
from auth_service.settings import Settings

log = logging.getLogger(__name__)

VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
}

BY_STATUS: dict[int, type[ServiceError]] = {
    404: errors.PathUnknown,
    405: errors.MethodUnsupported,
    415: errors.ContentTypeUnsupported,
}
"""Error classes of the HTTP errors that werkzeug raises, by status; any other is answered with `bad_request`."""


def fixed_headers(settings: Settings) -> dict[str, str]:
    """Return the security headers of every response; a view can override them. HSTS only if the public URL is HTTPS."""
    hsts = {"Strict-Transport-Security": "max-age=31536000"} if settings.public_url.startswith("https://") else {}
    return SECURITY_HEADERS | hsts


def register(app: Flask, settings: Settings) -> None:
    """Register the middleware on the application."""
    app.before_request(_before_request)
    app.after_request(_after_request(settings))
    app.register_error_handler(Exception, _handle_error)


def _before_request() -> Response | None:
    g.started_at = clock.monotonic()
    g.error_code = None
    # An id of the client is accepted only in a safe form: it is written to the log (log injection, CWE-117).
    client_supplied = request.environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = client_supplied if VALID_REQUEST_ID.fullmatch(client_supplied) else uuid.uuid4().hex
    logs.request_id.set(g.request_id)
    if (request.content_length or 0) > LARGEST_BODY:
        raise errors.BodyTooLarge
    if isinstance(request.routing_exception, BadHost):  # before a preflight, which is answered without a route
        raise errors.HttpRequestInvalid
    # `GET http://host` has an empty path. Flask would answer any redirect of the router itself, in HTML.
    if isinstance(request.routing_exception, RequestRedirect):
        raise errors.PathUnknown
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    preflight = Response(status=204)
    del preflight.headers["Content-Type"]
    return preflight


def _after_request(settings: Settings):  # type: ignore[no-untyped-def] # Flask has no public type for this callback
    fixed = list(fixed_headers(settings).items())
    allows_pages = bool(settings.cors_origins) or settings.app_env == "local"

    def finish(response: Response) -> Response:
        # A header that the view has set is not replaced. One `extend`: `setdefault` searches all headers each time.
        present = {name.lower() for name, _ in response.headers}
        response.headers.extend([(name, value) for name, value in fixed if name.lower() not in present])
        response.headers["X-Request-Id"] = g.request_id
        cookies.add_cookies(response)
        if allows_pages:
            _allow_origin(response, settings)
        seconds = clock.monotonic() - g.started_at
        metrics.observe(_route(), request.method, response.status_code, seconds)
        level = logging.INFO if response.status_code >= 400 else logging.DEBUG
        if log.isEnabledFor(level):
            # The route, never the path: a path holds ids, and a mistyped one may hold personal data or a secret.
            log.log(
                level,
                "answered",
                extra={
                    "method": request.method if request.method.isalpha() else "-",
                    "route": _route(),
                    "status": response.status_code,
                    "ms": round(seconds * 1000, 1),
                    **({"refusal": g.error_code} if g.error_code else {}),
                },
            )
        return response

    return finish


def cors_headers(settings: Settings, origin: str) -> dict[str, str]:
    """What lets the pages of an allowed origin read a response (CORS), for requests that no route answers."""
    if not settings.cors_origins and settings.app_env != "local":
        return {}
    allowed = {"Access-Control-Allow-Origin": origin, **_ALLOWED} if settings.allows_origin(origin) else {}
    return {"Vary": "Origin", **allowed}


_ALLOWED = {
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "Retry-After, X-Request-Id, WWW-Authenticate, Link",
}


def _allow_origin(response: Response, settings: Settings) -> None:
    response.vary.add("Origin")
    origin = request.headers.get("Origin", "")
    if not settings.allows_origin(origin):
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers.extend(_ALLOWED)
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
        response.headers["Access-Control-Allow-Headers"] = (
            "Content-Type, Accept-Language, Authorization, X-Request-Id, X-Requested-With, Idempotency-Key"
        )
        response.headers["Access-Control-Max-Age"] = "600"


def _route() -> str:
    return request.url_rule.rule if request.url_rule else "-"


def _handle_error(error: Exception) -> AnyResponse:
    """Turn any exception into an error response: errors of the service, HTTP errors of werkzeug, and bugs."""
    if isinstance(error, ServiceError):
        return _respond(error)
    if isinstance(error, HTTPException):
        response = _respond(BY_STATUS.get(error.code or 400, errors.HttpRequestInvalid)())
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response
    log.error("crashed", exc_info=error, extra={"route": _route()})
    return _respond(errors.InternalError())


def _respond(error: ServiceError) -> Response:
    g.error_code = error.code
    metrics.observe_error(type(error))
    accept = request.headers.get("Accept", "")
    body, content_type = requested_form(error, accept=accept, public_url=settings().public_url, request_id=g.request_id)
    return error_response(error, body=body, content_type=content_type)
