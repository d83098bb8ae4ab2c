"""The registration ticket: a cookie that makes a browser the holder of a challenge."""

import re
import secrets

from flask import Response, current_app, g, request

from auth_service.services.registration import CodeSent
from auth_service.settings import Settings

FORM = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""256 bits in base64url."""


def cookie_name(settings: Settings) -> str:
    """The name with the prefix that keeps subdomains from setting it, where there is TLS for it (RFC 6265bis)."""
    return "__Host-registration" if settings.production else "registration"


def presented() -> str | None:
    """The ticket that came with this request; in place of anything that cannot be one, a new one that nobody holds."""
    value = request.cookies.get(cookie_name(_settings()))
    if value is None:
        return None
    return value if FORM.fullmatch(value) else secrets.token_urlsafe(32)


def hand_out(sent: CodeSent) -> CodeSent:
    """Give the ticket to the caller with the answer to this request."""
    g.ticket = sent.ticket
    return sent


def set_cookie(response: Response) -> Response:
    """Put the ticket that was handed out, if any, into the answer; errors carry none."""
    ticket = g.pop("ticket", None)
    if ticket is not None and response.status_code < 300:
        settings = _settings()
        response.set_cookie(
            cookie_name(settings),
            ticket,
            max_age=settings.ticket_lifetime_seconds,
            path="/",
            secure=settings.production,
            httponly=True,
            samesite="Strict",
        )
    return response


def _settings() -> Settings:
    settings: Settings = current_app.extensions["auth_service"].settings
    return settings
