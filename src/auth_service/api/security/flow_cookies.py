"""Flow tickets in cookies: they bind an emailed code to the browser that requested it."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from flask import request

from auth_service.adapters.crypto.flow_tickets import TTL
from auth_service.api.current import settings
from auth_service.api.http.cookies import Cookie
from auth_service.api.security.csrf import check_csrf, check_same_site
from auth_service.errors import ServiceError
from auth_service.services.credentials.one_time_codes import CodeSent

TICKET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""256 bits in base64url."""


@dataclass(frozen=True, slots=True)
class FlowCookie:
    """The cookie with the flow ticket of one flow."""

    cookie: Cookie
    is_required: bool = False
    """Whether the flow cannot continue without the cookie in production."""

    def renewed(self) -> str | None:
        """Return the flow ticket of a request whose answer sets the cookie. Raises CrossSite.

        If the browser would not keep a cookie that the flow needs, the user would get a code that never works.
        """
        if self.is_required and settings().production and "Authorization" not in request.headers:
            check_same_site()
        return self.presented()

    def presented(self) -> str | None:
        """Return the flow ticket of this request; None without the cookie.

        A malformed value is replaced by a new random ticket, which no code is bound to: it fails like a wrong ticket.
        """
        value = self.cookie.read()
        if value is None:
            return None
        return value if TICKET.fullmatch(value) else secrets.token_urlsafe(32)

    def issue(self, sent: CodeSent) -> CodeSent:
        """Set the cookie with the flow ticket that the sent code is bound to; return `sent`."""
        if sent.ticket is not None:
            self.cookie.set(sent.ticket, max_age=settings().ticket_lifetime_seconds)
        return sent


def _cookie(purpose: str, *, of: str) -> Cookie:
    return Cookie(purpose=purpose, content=f"The flow ticket of {of}.", samesite="Strict")


@dataclass(frozen=True, slots=True)
class SealedFlowCookie:
    """The cookie with the sealed flow ticket of a second step or of a passkey ceremony, for clients without scripts."""

    cookie: Cookie

    def presented(self, in_body: str | None) -> str | None:
        """Return the flow ticket of the body, or else that of the cookie; None without both. Raises CrossSite.

        A browser sends the cookie by itself, so the page that sends the request is checked (CSRF).
        """
        if in_body is not None:
            return in_body
        ticket = self.cookie.read()
        if ticket is not None:
            check_csrf()
        return ticket

    @contextmanager
    def cleared_after(self, error: type[ServiceError]) -> Iterator[None]:
        """Delete the cookie after a success and after an `error` that makes its ticket useless."""
        try:
            yield
        except error:
            self._clear()
            raise
        self._clear()

    def _clear(self) -> None:
        if self.cookie.read() is not None:
            self.cookie.clear()

    def issue(self, ticket: str) -> None:
        """Set the cookie."""
        self.cookie.set(ticket, max_age=TTL)


REGISTRATION = FlowCookie(_cookie("registration", of="the registration"), is_required=True)
SIGN_IN = FlowCookie(_cookie("sign-in", of="the sign-in"))
PASSWORD_RESET = FlowCookie(_cookie("recovery", of="the password reset"))
SECOND_STEP = SealedFlowCookie(replace(_cookie("second-step", of="the second step of a sign-in"), is_set_on_401=True))
PASSKEY = SealedFlowCookie(_cookie("passkey", of="a passkey ceremony"))
