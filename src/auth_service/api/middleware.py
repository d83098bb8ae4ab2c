"""What surrounds every answer: the request id, the headers, the one error handler, CORS, the log line, the metrics."""

import logging
import re
import uuid

from flask import Flask, Response, g, request
from werkzeug.exceptions import BadHost, HTTPException
from werkzeug.wrappers import Response as AnyResponse

from auth_service import clock, errors, logs
from auth_service.api import cookies, metrics
from auth_service.api.envelope import refused
from auth_service.api.parsing import LARGEST_BODY
from auth_service.errors import Refusal
from auth_service.settings import Settings

log = logging.getLogger(__name__)

SANE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
}

BY_STATUS: dict[int, type[Refusal]] = {
    404: errors.PathUnknown,
    405: errors.MethodNotAllowed,
    415: errors.ContentTypeUnsupported,
}
"""What werkzeug refuses by itself, in our words; everything else that it refuses is a bad request."""


def fixed_headers(settings: Settings) -> dict[str, str]:
    """The headers that every answer of this deployment has, unless it says otherwise."""
    hsts = {"Strict-Transport-Security": "max-age=31536000"} if settings.public_url.startswith("https://") else {}
    return SECURITY_HEADERS | hsts


def surround(app: Flask, settings: Settings) -> None:
    """Register all of it on the application."""
    app.before_request(_begin)
    app.after_request(_finish(settings))
    app.register_error_handler(Exception, _refusal)


def _begin() -> Response | None:
    g.began = clock.monotonic()
    g.refusal = None
    given = request.environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = given if SANE_ID.fullmatch(given) else uuid.uuid4().hex
    logs.request_id.set(g.request_id)
    if (request.content_length or 0) > LARGEST_BODY:
        raise errors.BodyTooLarge
    if isinstance(request.routing_exception, BadHost):  # before a preflight, which is answered without a route
        raise errors.BadRequest
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    preflight = Response(status=204)
    del preflight.headers["Content-Type"]
    return preflight


def _finish(settings: Settings):  # type: ignore[no-untyped-def] # Flask names no type for what it takes
    fixed = list(fixed_headers(settings).items())
    origins = frozenset(settings.cors_origins)

    def finish(response: Response) -> Response:
        # Those that a page has set for itself stay. One by one, `setdefault` would search all headers each time.
        present = {name.lower() for name, _ in response.headers}
        response.headers.extend([(name, value) for name, value in fixed if name.lower() not in present])
        response.headers["X-Request-Id"] = g.request_id
        cookies.into(response)
        if origins:
            _allow_origin(response, origins)
        seconds = clock.monotonic() - g.began
        metrics.observe(_route(), request.method, response.status_code, seconds)
        level = logging.INFO if response.status_code >= 400 else logging.DEBUG
        if log.isEnabledFor(level):
            # The route, never the path: paths hold ids, and what people mistype holds anything.
            log.log(
                level,
                "answered",
                extra={
                    "method": request.method if request.method.isalpha() else "-",
                    "route": _route(),
                    "status": response.status_code,
                    "ms": round(seconds * 1000, 1),
                    **({"refusal": g.refusal} if g.refusal else {}),
                },
            )
        return response

    return finish


def cors_headers(settings: Settings, origin: str) -> dict[str, str]:
    """What lets the pages of an allowed origin read a response (CORS), for requests that no route answers."""
    if not settings.cors_origins:
        return {}
    allowed = {"Access-Control-Allow-Origin": origin, **_ALLOWED} if origin in settings.cors_origins else {}
    return {"Vary": "Origin", **allowed}


_ALLOWED = {
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "Retry-After, X-Request-Id",
}


def _allow_origin(response: Response, origins: frozenset[str]) -> None:
    response.vary.add("Origin")
    origin = request.headers.get("Origin", "")
    if origin not in origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers.extend(_ALLOWED)
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
        response.headers["Access-Control-Allow-Headers"] = (
            "Content-Type, Accept-Language, Authorization, X-Request-Id, X-Requested-With"
        )
        response.headers["Access-Control-Max-Age"] = "600"


def _route() -> str:
    return request.url_rule.rule if request.url_rule else "-"


def _refusal(error: Exception) -> AnyResponse:
    """Speak for every error: refusals, what werkzeug refuses, and crashes."""
    if isinstance(error, Refusal):
        return _refused(error)
    if isinstance(error, HTTPException):
        response = _refused(BY_STATUS.get(error.code or 400, errors.BadRequest)())
        if error.code == 405 and (allowed := getattr(error, "valid_methods", None)):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response
    log.error("crashed", exc_info=error, extra={"route": _route()})
    return _refused(errors.InternalError())


def _refused(refusal: Refusal) -> Response:
    g.refusal = refusal.code()
    metrics.observe_refusal(type(refusal))
    return refused(refusal)
