"""Session cookies: access token, refresh token and device token in cookies that scripts cannot read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from auth_service.api.current import settings
from auth_service.api.http.cookies import Cookie
from auth_service.api.security.client_info import DEVICE, client_info
from auth_service.api.security.csrf import check_csrf, check_same_site
from auth_service.api.security.flow_cookies import SECOND_STEP
from auth_service.errors import RefreshRejected, SecondFactorRequired, Unauthenticated
from auth_service.services.flows.sign_in_stages import SignedIn, SignInContext
from auth_service.services.sessions.sessions import Tokens

ACCESS = Cookie(purpose="access", content='The access token of a sign-in with `"transport": "cookie"`.', samesite="Lax")
REFRESH = Cookie(
    purpose="refresh", content='The refresh token of a sign-in with `"transport": "cookie"`.', samesite="Lax"
)
SESSION_COOKIES = (ACCESS, REFRESH)


def access_token() -> str | None:
    """Return the access token of the cookie, or None."""
    return ACCESS.read()


def refresh_token() -> str | None:
    """Return the refresh token of the cookie, or None. The caller has to check CSRF."""
    return REFRESH.read()


@dataclass(frozen=True, kw_only=True, slots=True)
class PresentedToken:
    """A refresh token, and the transport that it and its successor use: `bearer` or `cookie`."""

    token: str
    transport: str


def sign_in_context(transport: str) -> SignInContext:
    """Return the context of a sign-in by this request. Raises CrossSite.

    With cookies CSRF is checked: an attacker could sign the victim in to an account of the attacker (login CSRF).
    """
    if transport == "cookie":
        check_csrf()
        check_same_site()
    return SignInContext(client=client_info(), transport=transport, device_token=DEVICE.read())


@contextmanager
def second_step_in_cookie(transport: str) -> Iterator[None]:
    """Put the ticket of a second step into its cookie if `transport` is `cookie`."""
    try:
        yield
    except SecondFactorRequired as error:
        if transport == "cookie":
            SECOND_STEP.issue(error.members.pop("ticket"))
        raise


def signed_in(result: SignedIn) -> Tokens:
    """Set the cookies of a sign-in; return the tokens for the response body, without those that cookies hold."""
    DEVICE.set(result.device_token, max_age=settings().device_lifetime_seconds)
    return delivered(result.tokens, transport=result.transport)


def presented_refresh_token(in_body: SecretStr | None) -> PresentedToken:
    """Return the refresh token of the body, or the one in the cookie. Raises RefreshRejected, CrossSite."""
    if in_body is not None:
        return PresentedToken(token=in_body.get_secret_value(), transport="bearer")
    cookie = refresh_token()
    if cookie is None:
        raise RefreshRejected
    check_csrf()
    return PresentedToken(token=cookie, transport="cookie")


def delivered(tokens: Tokens, *, transport: str) -> Tokens:
    """Set the session cookies if `transport` is `cookie`; return the tokens for the response body.

    With cookies the body has no tokens: a script of the page cannot read them (XSS).
    """
    if transport != "cookie":
        return tokens
    ACCESS.set(tokens.access_token or "", max_age=tokens.expires_in)
    REFRESH.set(tokens.refresh_token or "", max_age=settings().session_idle_seconds)
    return tokens.hidden()


@contextmanager
def cleared_if_rejected(transport: str) -> Iterator[None]:
    """Delete the session cookies if their tokens are rejected; scripts of the page cannot delete them.

    After the CSRF check, so that no foreign page can delete them.
    """
    try:
        yield
    except Unauthenticated:
        if transport == "cookie":
            clear_session_cookies()
        raise


def clear_session_cookies() -> None:
    """Delete the session cookies. The device cookie stays, so that the next sign-in is from a known device."""
    ACCESS.clear()
    REFRESH.clear()
