"""Sign-out by the access token or by the refresh token, which outlives it."""

from collections.abc import Callable

from flask import g, request
from pydantic import SecretStr

from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import Access, require_user
from auth_service.api.security.client_info import client_info
from auth_service.api.security.csrf import check_csrf
from auth_service.errors import (
    CrossSite,
    RefreshRejected,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    Unauthenticated,
)
from auth_service.services.sessions.sessions import CurrentUser


def _authenticate_if_possible() -> None:
    """As `require_user`, but leave it to `sign_out` to reject the request: the refresh token may be in the body."""
    try:
        require_user()
    except Unauthenticated as error:
        g.authentication_error = error


session_holder = Access(
    name="session_holder",
    sentence="Access: signed-in users, by the access token or by the refresh token.",
    check=_authenticate_if_possible,
    errors=(TokenMissing, TokenExpired, TokenInvalid, RefreshRejected, CrossSite),
    needs_token=True,
)
"""For sign-out only. A client whose access token has expired could otherwise not end its session (ASVS 7.4.1)."""


def sign_out(in_body: SecretStr | None, *, revoke: Callable[..., None]) -> None:
    """Call `revoke` for each session whose token the request presents, and delete the session cookies.

    `in_body` is the refresh token of the body. Raises the error of the access token if the request has no refresh
    token, RefreshRejected, CrossSite.
    """
    user: CurrentUser | None = g.get("current_user")
    used_cookies = user is not None and "Authorization" not in request.headers
    if user is not None:
        revoke(user.holder, client=client_info())
    if in_body is not None:
        _by_refresh_token(in_body.get_secret_value(), revoke, needed=user is None)
    elif user is None:
        _by_cookie(revoke)
        used_cookies = True
    if used_cookies or _by_other_cookies(revoke):
        session_cookies.clear_session_cookies()


def _by_refresh_token(token: str, revoke: Callable[..., None], *, needed: bool) -> None:
    """Revoke by a refresh token; beside a valid access token (not `needed`), a token without a session is no error."""
    try:
        revoke(services().sessions.holder(token, client=client_info()), client=client_info())
    except RefreshRejected:
        if needed:
            raise


def _by_cookie(revoke: Callable[..., None]) -> None:
    """Revoke by the refresh cookie. A request with `Authorization` ignores session cookies."""
    error: Unauthenticated = g.authentication_error
    if "Authorization" in request.headers or not _has_cookies():
        raise error
    check_csrf()
    with session_cookies.cleared_if_rejected("cookie"):
        token = session_cookies.refresh_token()
        if token is None:
            raise error
        _by_refresh_token(token, revoke, needed=True)


def _by_other_cookies(revoke: Callable[..., None]) -> bool:
    """Revoke by the cookies beside another token, so that no session stays open whose cookies are deleted.

    Return False if a page could have forged the cookies (CSRF): then they and their session stay.
    """
    if not _has_cookies():
        return True
    try:
        check_csrf()
    except CrossSite:
        return False
    token = session_cookies.refresh_token()
    if token is not None:
        _by_refresh_token(token, revoke, needed=False)
    return True


def _has_cookies() -> bool:
    return session_cookies.access_token() is not None or session_cookies.refresh_token() is not None
