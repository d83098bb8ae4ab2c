"""Errors of sign-in, sessions, access tokens, refresh tokens, service keys and the CSRF check."""

from datetime import datetime
from typing import Annotated, Literal

from auth_service.errors.base import Forbidden, NotFound, RateLimited, Unauthenticated, members


class CredentialsRejected(Unauthenticated):
    """Unknown address, wrong password or code, no password: one error for all of them (user enumeration, ASVS 6.3.8).

    The failed attempt is committed (brute force).
    """

    code = "credentials_rejected"
    message = "The email address and the password or code do not match; check both or reset the password."
    commit_on_raise = True


class AccountBanned(Forbidden):
    """The credentials of a sign-in are correct, but an administrator has banned the account.

    Only correct credentials get this error, so that it reveals no account (user enumeration). The failed attempt is
    committed.
    """

    code = "account_banned"
    message = "This account is banned until `until`, or without end if that is null; contact an administrator."
    extra = members(
        until=Annotated[datetime | None, "The end of the ban; null for a ban without end."],
        reason=Annotated[str, "The reason of the ban."],
    )


class TokenMissing(Unauthenticated):
    """The endpoint needs an access token, and neither the `Authorization` header nor a cookie has one."""

    code = "token_missing"
    message = "This request needs an access token; sign in and send the token."


class TokenExpired(Unauthenticated):
    """A genuine access token has expired, or its cookie has expired and the browser still sends the refresh cookie.

    Whether the session is still active is not checked: the refresh decides that.
    """

    code = "token_expired"
    message = "The access token has expired; refresh it, then send the request again."


class TokenInvalid(Unauthenticated):
    """The access token is malformed or forged, its signing key was removed, or its session was revoked."""

    code = "token_invalid"
    message = "The access token is invalid or its session has ended; refresh it or sign in again."


class RefreshRejected(Unauthenticated):
    """The refresh token is unknown, expired or reused; reuse detection revokes its session, which is committed."""

    code = "refresh_rejected"
    message = "The refresh token is no longer valid; sign in again."
    commit_on_raise = True


class TooManyAttempts(RateLimited):
    """Failed attempts throttle the address or the user (brute force)."""

    code = "too_many_attempts"
    message = "There were too many failed attempts; try again after `retry_after` seconds."


class SessionUnknown(NotFound):
    """The user has no active session with this id. If another user has it, the audit event about that is committed."""

    code = "session_unknown"
    message = "No active session of this account has this id; list the sessions to get their ids."
    commit_on_raise = True


class ServiceKeyMissing(Unauthenticated):
    """The endpoint needs a service key, and the `Authorization` header has none."""

    code = "service_key_missing"
    message = "This request needs a service key; send it in the Authorization header."


class ServiceKeyInvalid(Unauthenticated):
    """The service key is malformed, unknown, expired or revoked."""

    code = "service_key_invalid"
    message = "The service key is invalid, expired or revoked; send a valid one."


class ScopeMissing(Forbidden):
    """The service key is valid but lacks the scope of the endpoint."""

    code = "scope_missing"
    message = "The service key lacks the scope in `scope`; send a key that has it."
    extra = members(scope=Annotated[str, "The scope that the service key lacks."])


class CrossSite(Forbidden):
    """The CSRF check failed: an unsafe request with cookies does not come from an allowed page.

    `api/security/csrf.py` lists the reasons.
    """

    code = "cross_site"
    message = (
        "Send requests with cookies from an allowed origin, from the site of the API and with a non-empty "
        "X-Requested-With header; `reason` says which of `origin`, `site` and `header` is wrong."
    )
    extra = members(reason=Annotated[Literal["origin", "site", "header"], "The failed check."])
