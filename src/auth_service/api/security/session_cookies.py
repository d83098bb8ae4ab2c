"""Sessions in cookies, for browsers that keep no tokens of their own, and the proof that a request is not forged."""

from dataclasses import dataclass

from flask import request
from pydantic import SecretStr

from auth_service.api.current import settings
from auth_service.api.http.cookies import Cookie
from auth_service.api.security.client_info import origin
from auth_service.errors import CrossSite, RefreshRejected
from auth_service.services.flows.sign_in_stages import SignedIn, SignInContext
from auth_service.services.sessions.sessions import Tokens

ACCESS = Cookie(purpose="access", samesite="Lax")
REFRESH = Cookie(purpose="refresh", samesite="Lax")
DEVICE = Cookie(purpose="device", samesite="Lax")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROOF_HEADER = "X-Requested-With"
"""Any value but none will do: a page of another origin cannot set it without asking first, and is refused then."""


def access_token() -> str | None:
    """The access token in the cookie, if there is one."""
    return ACCESS.read()


@dataclass(frozen=True, kw_only=True, slots=True)
class PresentedToken:
    """A refresh token, and how it came: its successor goes the same way."""

    token: str
    transport: str


def sign_in_context(transport: str) -> SignInContext:
    """Return the context of a sign-in by this request. Raises CrossSite.

    A sign-in with cookies is checked too: an attacker could sign the victim in to the attacker's account (login CSRF).
    """
    if transport == "cookie":
        prove_same_origin()
    return SignInContext(client=origin(), transport=transport, device_token=DEVICE.read())


def signed_in(result: SignedIn) -> Tokens:
    """Set the cookies of a sign-in; return the tokens for the answer's body, without those that cookies hold."""
    DEVICE.give(result.device_token, lives=settings().device_lifetime_seconds)
    return delivered(result.tokens, transport=result.transport)


def presented_refresh_token(in_body: SecretStr | None) -> PresentedToken:
    """Return the refresh token of the body, or the one in the cookie. Raises RefreshRejected, CrossSite."""
    if in_body is not None:
        return PresentedToken(token=in_body.get_secret_value(), transport="bearer")
    cookie = REFRESH.read()
    if cookie is None:
        raise RefreshRejected
    prove_same_origin()
    return PresentedToken(token=cookie, transport="cookie")


def delivered(tokens: Tokens, *, transport: str) -> Tokens:
    """Set the session cookies where `transport` is `cookie`; return the tokens for the answer's body."""
    if transport != "cookie":
        return tokens
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
