"""HTTP requests to the authentication service, with limits of time and size."""

import json
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from auth_service_verifier.errors import ConfigurationError

TIME_LIMIT = 3.0
"""Default of the seconds for connecting and for each wait for data, and for the body as a whole."""
LARGEST_ANSWER = 65_536


class RequestFailed(Exception):
    """There is no usable answer; `answer` is the JSON body of an HTTP error, if it has one."""

    def __init__(self, reason: str, *, status: int | None = None, answer: Any = None) -> None:
        """`reason` is for the log."""
        super().__init__(reason)
        self.status = status
        self.answer = answer


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: it would send the service key, or the trust in the keys, to another place."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


_OPENER = build_opener(_NoRedirects)


def checked_url(url: str, *, name: str) -> str:
    """Return the URL. Raises ConfigurationError unless it is an absolute URL of HTTP."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(f"{name}: write a URL that starts with https:// or http://")
    return url


def fetch_json(url: str, *, time_limit: float, form: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    """Send a GET request, or a POST request with a form, and return the JSON body. Raises RequestFailed."""
    # `checked_url` has checked the scheme: urllib would also open files.
    request = Request(url, data=form, headers={"Accept": "application/json", **(headers or {})})  # noqa: S310
    try:
        with _OPENER.open(request, timeout=time_limit) as response:
            return json.loads(_read(response, time_limit))
    except HTTPError as error:
        with error:
            raise RequestFailed(
                f"HTTP status {error.code}", status=error.code, answer=_json_of(error, time_limit)
            ) from None
    # OSError includes URLError and timeouts; ValueError is what malformed JSON and UTF-8 raise.
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        raise RequestFailed(f"{type(error).__name__}: {error}") from None


def _read(response: Any, time_limit: float) -> bytes:
    """Read the body in pieces, because the timeout of a socket starts anew with each byte that a slow server sends."""
    give_up_at = time.monotonic() + time_limit
    body = b""
    while piece := response.read1(LARGEST_ANSWER):
        body += piece
        if len(body) > LARGEST_ANSWER:
            raise ValueError("the answer is too large")
        if time.monotonic() > give_up_at:
            raise TimeoutError("the answer takes too long")
    return body


def _json_of(error: HTTPError, time_limit: float) -> Any:
    try:
        return json.loads(_read(error, time_limit))
    except (OSError, HTTPException, ValueError, RecursionError):
        return None
