"""Who may call an endpoint. Each endpoint says so; there is no default that an omission could open."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app, g, request

from auth_service.api import session_cookies
from auth_service.api.origin import origin
from auth_service.errors import Refusal, TokenInvalid, TokenMissing
from auth_service.models.event import Kind
from auth_service.services.sessions import Caller
from auth_service.wiring import Services


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A rule about callers: its check raises a refusal, its sentence is shown on the Swagger page."""

    name: str
    sentence: str
    check: Callable[[], None]
    refuses: tuple[type[Refusal], ...] = ()
    needs_token: bool = False


def caller() -> Caller:
    """Whoever calls; known where the endpoint's access is `signed_in`."""
    known: Caller = g.caller
    return known


def _everybody() -> None:
    return None


def _somebody() -> None:
    services: Services = current_app.extensions["auth_service"]
    g.caller = services.sessions.caller(_presented())
    if "Authorization" not in request.headers:
        session_cookies.prove_same_origin()


def write_down_denial(refusal: Refusal) -> None:
    """Note in the history of whoever calls, if that is known already, that something was denied."""
    caller: Caller | None = g.get("caller")
    if caller is None:
        return
    services: Services = current_app.extensions["auth_service"]
    services.history.note_failure(
        Kind.ACCESS_DENIED, user_id=caller.id, origin=origin(), session_id=caller.session_id, refusal=refusal.code()
    )


def _presented() -> str:
    """The access token of the request. A bearer call ignores cookies: no authority that the caller did not name."""
    header = request.headers.get("Authorization")
    if header is None:
        cookie = session_cookies.access_token()
        if cookie is None:
            raise TokenMissing
        return cookie
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token or not token.isascii():
        raise TokenInvalid
    return token


anyone = Access(name="anyone", sentence="Anyone may call this.", check=_everybody)

signed_in = Access(
    name="signed_in",
    sentence="Whoever is signed in may call this.",
    check=_somebody,
    refuses=(TokenMissing, TokenInvalid),
    needs_token=True,
)
