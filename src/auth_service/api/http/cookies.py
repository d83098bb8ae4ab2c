"""HTTP cookies: host-only, HttpOnly, and set only on responses that report success; deletions also on 401."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from flask import Response, g, request

from auth_service.api.current import settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Cookie:
    """One cookie of the service. The `__Host-` prefix prevents cookie tossing from a subdomain (RFC 6265bis)."""

    purpose: str
    content: str
    """What it contains, for the documents of the API."""
    samesite: Literal["Strict", "Lax"]
    is_set_on_401: bool = False
    """Whether the answer that asks for a second step sets it. No other answer to an error sets a cookie."""

    @property
    def name(self) -> str:
        """The name in this deployment."""
        return self.name_in(production=settings().production)

    def name_in(self, *, production: bool) -> str:
        """`__Host-registration` in production, `registration` without TLS on a developer's machine."""
        return f"__Host-{self.purpose}" if production else self.purpose

    def read(self) -> str | None:
        """Return the value that the request sent, or None."""
        return request.cookies.get(self.name)

    def set(self, value: str, *, max_age: timedelta) -> None:
        """Set the cookie on the response to this request, unless the response is an error."""
        g.setdefault("cookies", {})[self] = (value, max_age)

    def clear(self) -> None:
        """Delete the cookie in the browser, also if the response is 401.

        Scripts cannot delete an HttpOnly cookie, so a browser would send a dead one for ever.
        """
        self.set("", max_age=timedelta())


def add_cookies(response: Response) -> Response:
    """Add the cookies that were set during this request to its response. Errors set no cookie."""
    for cookie, (value, max_age) in g.pop("cookies", {}).items():
        if response.status_code < 300 or (response.status_code == 401 and (not max_age or cookie.is_set_on_401)):
            response.set_cookie(
                cookie.name,
                value,
                max_age=max_age,
                path="/",
                secure=settings().production,
                httponly=True,
                samesite=cookie.samesite,
            )
    return response
