"""Authentication and authorization of requests: the access rules that an endpoint declares.

The default of a contract is `signed_in`, so an endpoint without a rule is closed.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flask import g, request

from auth_service.api.current import services
from auth_service.api.http.parsing import header_text
from auth_service.api.security import csrf, session_cookies
from auth_service.api.security.client_info import client_info
from auth_service.errors import (
    CrossSite,
    ScopeMissing,
    ServiceError,
    ServiceKeyInvalid,
    ServiceKeyMissing,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)
from auth_service.invisible_characters import trimmed
from auth_service.models.audit_event import EventType
from auth_service.models.service_key import SUPPLY_CODE, VERIFY
from auth_service.services.sessions.sessions import CurrentUser
from auth_service.services.tokens.service_keys import CurrentService

SERVICE_KEY_HEADER = "X-Service-Key"
METHOD_HEADERS = ("X-Original-Method", "X-Forwarded-Method")


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """An access rule. `check` raises an error for a request that the rule denies."""

    name: str
    sentence: str
    """Describes the rule on the Swagger page."""
    check: Callable[[], None]
    errors: tuple[type[ServiceError], ...] = ()
    """The errors that `check` raises."""
    is_open: bool = False
    """Whether the rule allows a request without credentials."""
    needs_token: bool = False
    """Whether the rule requires the access token of a user."""
    takes_service_key: bool = False
    """Whether the rule requires or accepts a service key."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers that the rule reads apart from `Authorization` and `Cookie`, with their descriptions."""

    @property
    def requires_service_key(self) -> bool:
        """Whether only services have access, by `Authorization`: cookies have no effect."""
        return self.takes_service_key and not self.is_open


def current_user() -> CurrentUser:
    """Return the user who sent the request. Only for endpoints whose access rule requires an access token."""
    user: CurrentUser = g.current_user
    return user


def current_service() -> CurrentService | None:
    """Return the service whose key the request carries; None without a key."""
    calling: CurrentService | None = g.get("current_service")
    return calling


def _allow_anyone() -> None:
    return None


def require_user() -> None:
    """Set the current user from the access token, and check CSRF.

    Raises TokenMissing, TokenExpired, TokenInvalid, CrossSite.
    """
    g.current_user = services().sessions.current_user(_access_token())
    _check_csrf(request.method)


def audit_denied(error: ServiceError) -> None:
    """Record the audit event `access_denied` for the current user, if the request is authenticated already."""
    user: CurrentUser | None = g.get("current_user")
    if user is None:
        return
    services().audit_log.record_failure(
        EventType.ACCESS_DENIED,
        user_id=user.id,
        client=client_info(),
        session_id=user.session_id,
        refusal=error.code,
    )


def _require_user_or_gateway() -> None:
    """As `require_user`, for forward auth: a gateway asks whether the request that it describes is authorized."""
    if (key := header_text(SERVICE_KEY_HEADER)) is not None:
        _authenticate_service(key, VERIFY)
    g.current_user = services().sessions.current_user(_access_token())
    _check_csrf(request.method, *_original_methods())


def _original_methods() -> list[str]:
    """Return the methods of the original request that the gateway names, in either of the usual headers."""
    methods = [header_text(name) for name in METHOD_HEADERS]
    return [method.upper() for method in methods if method is not None]


def _check_csrf(*methods: str) -> None:
    """Check CSRF if cookies authenticate the request. A browser never adds `Authorization` by itself.

    Runs after the authentication, so that the audit event of a forged request names the attacked user.
    """
    if "Authorization" not in request.headers:
        csrf.check_csrf(*methods)


def _access_token() -> str:
    """Return the access token of the request. The cookie is ignored beside `Authorization`, valid or not."""
    header = header_text("Authorization")
    if header is None:
        cookie = session_cookies.access_token()
        if cookie is None:
            # A browser deletes the cookie of an access token when the token expires.
            raise TokenMissing if session_cookies.refresh_token() is None else TokenExpired
        return cookie
    token = _bearer(header)
    if token is None:
        raise TokenInvalid
    return token


def _bearer(header: str) -> str | None:
    scheme, token = _credentials(header)
    return token if scheme == "bearer" and token and token.isascii() else None


def _credentials(header: str) -> tuple[str, str]:
    """Return the scheme in lower case and the credentials; any white space separates them (RFC 9110, 11.4)."""
    scheme, *rest = header.split(maxsplit=1) or [""]
    return trimmed(scheme).lower(), trimmed(rest[0]) if rest else ""


def _service_key() -> str | None:
    """Return the service key of the request: None without `Authorization`, an empty string for malformed credentials.

    The key is the bearer token, or the password of Basic authentication with any user name (RFC 6749, 2.3.1), which
    most libraries for introspection use.
    """
    header = header_text("Authorization")
    if header is None:
        return None
    scheme, credentials = _credentials(header)
    if scheme != "basic":
        return _bearer(header) or ""
    try:
        # Trimmed: a line end that was encoded with the key is no part of it.
        return trimmed(base64.b64decode(credentials, validate=True).decode("ascii").partition(":")[2])
    except ValueError:
        return ""


def _authenticate_service(key: str, scope: str) -> None:
    g.current_service = services().service_keys.admit(key, scope=scope)


def service(scope: str) -> Access:
    """Return the rule for services with a key of this scope. It does not accept the access token of a user."""

    def check() -> None:
        key = _service_key()
        if key is None:
            raise ServiceKeyMissing
        _authenticate_service(key, scope)

    return Access(
        name=f"service {scope}",
        sentence=f"Access: services, with a key of scope `{scope}`.",
        check=check,
        errors=(ServiceKeyMissing, ServiceKeyInvalid, ScopeMissing),
        takes_service_key=True,
    )


def _anyone_or_service() -> None:
    # An invalid key is an error: the client would otherwise be treated as anonymous without noticing.
    if (key := _service_key()) is not None:
        _authenticate_service(key, SUPPLY_CODE)


anyone = Access(name="anyone", sentence="Access: anyone.", check=_allow_anyone, is_open=True)

signed_in = Access(
    name="signed_in",
    sentence="Access: signed-in users.",
    check=require_user,
    errors=(TokenMissing, TokenExpired, TokenInvalid, CrossSite),
    needs_token=True,
)

forward_auth = Access(
    name="forward_auth",
    sentence="Access: signed-in users, directly or through a gateway that forwards their credentials.",
    check=_require_user_or_gateway,
    errors=(TokenMissing, TokenExpired, TokenInvalid, CrossSite, ServiceKeyInvalid, ScopeMissing),
    needs_token=True,
    headers={
        SERVICE_KEY_HEADER: f"The service key of the gateway, of scope `{VERIFY}`, if it has one.",
        **dict.fromkeys(METHOD_HEADERS, "The method of the original request; if both headers are sent, both count."),
        csrf.CSRF_HEADER: (
            "The header of the original request; required where cookies authenticate a request of an unsafe method."
        ),
    },
)

anyone_or_service = Access(
    name="anyone_or_service",
    sentence=(
        f"Access: anyone. With a service key of scope `{SUPPLY_CODE}`, client-supplied codes work in production too."
    ),
    check=_anyone_or_service,
    is_open=True,
    errors=(ServiceKeyInvalid, ScopeMissing),
    takes_service_key=True,
)
