"""Cookies: host-only, HttpOnly, and set with the answer that hands them out."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from flask import Response, g, request

from auth_service.api.current import settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Cookie:
    """One cookie of the service, under a name that no subdomain can set where there is TLS (RFC 6265bis)."""

    purpose: str
    samesite: Literal["Strict", "Lax"]

    @property
    def name(self) -> str:
        """`__Host-registration` in production, `registration` on a developer's machine."""
        return f"__Host-{self.purpose}" if settings().production else self.purpose

    def read(self) -> str | None:
        """What came with this request."""
        return request.cookies.get(self.name)

    def give(self, value: str, *, lives: timedelta) -> None:
        """Set it with the answer to this request, unless that turns out to be a refusal."""
        g.setdefault("cookies", {})[self] = (value, lives)

    def take_back(self) -> None:
        """Let the browser forget it."""
        self.give("", lives=timedelta())


def into(response: Response) -> Response:
    """Put what was given during this request into its answer; refusals carry none."""
    for cookie, (value, lives) in g.pop("cookies", {}).items():
        if response.status_code < 300:
            response.set_cookie(
                cookie.name,
                value,
                max_age=lives,
                path="/",
                secure=settings().production,
                httponly=True,
                samesite=cookie.samesite,
            )
    return response
