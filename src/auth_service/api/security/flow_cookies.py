"""Tickets: cookies that make a browser the holder of the codes that it asked for."""

import re
import secrets
from dataclasses import dataclass

from auth_service.api.current import settings
from auth_service.api.http.cookies import Cookie
from auth_service.services.credentials.one_time_codes import CodeSent

FORM = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""256 bits in base64url."""


@dataclass(frozen=True, slots=True)
class FlowCookie:
    """The ticket of one kind of codes."""

    cookie: Cookie

    def presented(self) -> str | None:
        """What came with this request; in place of anything that cannot be a ticket, a new one that nobody holds."""
        value = self.cookie.read()
        if value is None:
            return None
        return value if FORM.fullmatch(value) else secrets.token_urlsafe(32)

    def issue(self, sent: CodeSent) -> CodeSent:
        """Set the cookie with the flow ticket that a code belongs to."""
        if sent.ticket is not None:
            self.cookie.give(sent.ticket, lives=settings().ticket_lifetime_seconds)
        return sent


REGISTRATION = FlowCookie(Cookie(purpose="registration", samesite="Strict"))
SIGN_IN = FlowCookie(Cookie(purpose="sign-in", samesite="Strict"))
RECOVERY = FlowCookie(Cookie(purpose="recovery", samesite="Strict"))
