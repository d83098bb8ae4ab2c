"""The registration ticket: a cookie that makes a browser the holder of a challenge."""

import re

from flask import current_app

from auth_service.api.cookies import Cookie
from auth_service.services.registration import CodeSent
from auth_service.wiring import Services

FORM = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""256 bits in base64url."""

TICKET = Cookie(purpose="registration", samesite="Strict")


def presented() -> str | None:
    """The ticket that came with this request; anything that cannot be one is a ticket that nobody holds."""
    value = TICKET.read()
    if value is None:
        return None
    return value if FORM.fullmatch(value) else "malformed"


def hand_out(sent: CodeSent) -> CodeSent:
    """Give the ticket to the caller with the answer to this request."""
    services: Services = current_app.extensions["auth_service"]
    TICKET.give(sent.ticket, lives=services.settings.ticket_lifetime_seconds)
    return sent
