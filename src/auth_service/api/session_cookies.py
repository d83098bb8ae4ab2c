"""Sessions in cookies, for browsers that keep no tokens of their own, and the proof that a request is not forged."""

from collections.abc import Callable

from flask import request
from pydantic import SecretStr

from auth_service.api.cookies import Cookie
from auth_service.api.origin import origin
from auth_service.api.wired import settings
from auth_service.errors import CrossSite, RefreshRejected
from auth_service.services.sessions import Tokens
from auth_service.services.sign_in import Browser, SignedIn

ACCESS = Cookie(purpose="access", samesite="Lax")
REFRESH = Cookie(purpose="refresh", samesite="Lax")
DEVICE = Cookie(purpose="device", samesite="Lax")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROOF_HEADER = "X-Requested-With"
"""Any value but none will do: a page of another origin cannot set it without asking first, and is refused then."""


def access_token() -> str | None:
    """The access token in the cookie, if there is one."""
    return ACCESS.read()


def opened(transport: str, sign_in: Callable[[Browser], SignedIn]) -> Tokens:
    """Sign in, with what this browser has kept, and hand out the tokens in the way that is wanted."""
    if transport == "cookie":
        prove_same_origin()  # also here: being signed in to somebody else's account is an attack, too
    signed_in = sign_in(Browser(origin=origin(), transport=transport, device_token=DEVICE.read()))
    DEVICE.give(signed_in.device_token, lives=settings().device_lifetime_seconds)
    return _in_cookies(signed_in.tokens) if transport == "cookie" else signed_in.tokens


def exchanged(given: SecretStr | None, exchange: Callable[[str], Tokens]) -> Tokens:
    """Exchange the token of the body, or the one in the cookie; the new pair goes the way that the old one came."""
    if given is not None:
        return exchange(given.get_secret_value())
    cookie = REFRESH.read()
    if cookie is None:
        raise RefreshRejected
    prove_same_origin()
    return _in_cookies(exchange(cookie))


def _in_cookies(tokens: Tokens) -> Tokens:
    ACCESS.give(tokens.access_token or "", lives=tokens.expires_in)
    REFRESH.give(tokens.refresh_token or "", lives=settings().session_idle_seconds)
    return tokens.hidden()


def take_back() -> None:
    """Let the browser forget its session."""
    ACCESS.take_back()
    REFRESH.take_back()


def prove_same_origin(*methods: str) -> None:
    """Raise CrossSite unless an unsafe request that cookies speak for comes from our own pages or allowed ones.

    `methods` are those of the request, if it has others than its own: one that a gateway asks us about has two.
    """
    if SAFE_METHODS.issuperset(methods or (request.method,)):
        return
    allowed = {settings().public_url, *settings().cors_origins}
    page = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    # All browsers of today send one of the two with what is unsafe. Whoever sends neither has proved nothing.
    same = (page in allowed) if page is not None else site == "same-origin"
    if not same or not request.headers.get(PROOF_HEADER):
        raise CrossSite
