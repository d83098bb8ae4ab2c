"""Authentication and authorization of requests: the access rules that an endpoint declares.

The default of a contract is `signed_in`, so an endpoint without a rule is closed.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from flask import g, request

from auth_service.api.current import services, settings
from auth_service.api.http.parsing import header_text
from auth_service.api.security import csrf, session_cookies
from auth_service.api.security.client_info import client_info
from auth_service.errors import (
    CrossSite,
    InsufficientUserAuthentication,
    ScopeMissing,
    SecondFactorEnrolmentRequired,
    ServiceError,
    ServiceKeyInvalid,
    ServiceKeyMissing,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)
from auth_service.invisible_characters import trimmed
from auth_service.models.audit_event import EventType
from auth_service.models.permission import Permission
from auth_service.models.service_key import SUPPLY_CODE
from auth_service.services.caller import Caller, CallerType
from auth_service.services.sessions.sessions import CurrentUser
from auth_service.services.tokens.service_keys import CurrentService

TOKEN_HEADER = "X-TOKEN"  # noqa: S105 - the name of a header
"""Carries a service key, as `Authorization` does (requests of the reference implementation)."""
SERVICE_KEY_PREFIX = "svc_"
PLACEHOLDER = re.compile(r"<(?:\w+:)?(\w+)>")


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
    permission: Permission | None = None
    """The permission that the rule requires."""
    audits_step_up: bool = False
    """Whether a request with a too old or too weak authentication is an audit event, as a forbidden one always is."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers that the rule reads apart from credentials, with their descriptions."""

    @property
    def requires_service_key(self) -> bool:
        """Whether only services have access, by `Authorization`: cookies have no effect."""
        return self.takes_service_key and not self.is_open and not self.needs_token


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


def require_user(*more_methods: str) -> None:
    """Set the current user from the access token, and check CSRF.

    `more_methods` are those of other requests for which this one asks (forward auth). Raises TokenMissing,
    TokenExpired, TokenInvalid, CrossSite.
    """
    g.current_user = services().sessions.current_user(_access_token())
    _check_csrf(request.method, *more_methods)


def require_unrestricted_user(*more_methods: str) -> None:
    """Do the same as `require_user`, and deny restricted sessions.

    Raises SecondFactorEnrolmentRequired too, or InsufficientUserAuthentication if the user has a second factor.
    """
    require_user(*more_methods)
    user = current_user()
    if not user.is_restricted:
        return
    if user.has_factor:
        raise insufficient_authentication(acr=user.required_level, max_age=None)
    raise SecondFactorEnrolmentRequired


def insufficient_authentication(*, acr: str, max_age: timedelta | None) -> InsufficientUserAuthentication:
    """Return the error about a session of the current user that is too old or too weak (RFC 9470)."""
    age = settings().reauthentication_seconds if max_age is None else max_age
    return InsufficientUserAuthentication(
        acr_values=acr, max_age=int(age.total_seconds()), methods=_methods(current_user())
    )


def _methods(user: CurrentUser) -> list[str]:
    """Return the factors with which the user can reauthenticate."""
    first = ["password", "code"] if user.password_set else ["code"]
    second = ["totp", "recovery_code"] if user.totp else []
    return [*first, *second, *(["passkey"] if user.passkeys else [])]


def audit_denied(error: ServiceError) -> None:
    """Record the audit event `access_denied` of the current user or service; none before the authentication.

    In forward auth the request is that of the user, and the service is only the gateway.
    """
    user: CurrentUser | None = g.get("current_user")
    service = current_service()
    audit_log, client, target = services().audit_log, client_info(), ("endpoint", _endpoint())
    if user is not None:
        audit_log.record_failure(
            EventType.ACCESS_DENIED,
            user_id=user.id,
            client=client,
            session_id=user.session_id,
            target=target,
            refusal=error.code,
        )
    elif service is not None:
        audit_log.record_denied_service(caller_of(service), client=client, target=target, refusal=error.code)


def caller_of(service: CurrentService) -> Caller:
    """Return a service as the caller of an operation."""
    return Caller(type=CallerType.SERVICE, id=service.id, permissions=frozenset(service.scopes))


def _endpoint() -> str:
    """Return the method and the path of the endpoint, as the documents name it: the request may name other users."""
    rule = request.url_rule.rule if request.url_rule else "-"
    path = PLACEHOLDER.sub(r"{\1}", rule)
    return f"{request.method} {path}"


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


def presented_service_key() -> str | None:
    """Return the service key of a request that may carry an access token instead; None for such a request."""
    header = header_text("Authorization") or ""
    is_basic = _credentials(header)[0] == "basic"
    if TOKEN_HEADER in request.headers or is_basic or (_bearer(header) or "").startswith(SERVICE_KEY_PREFIX):
        return _service_key()
    return None


def _service_key() -> str | None:
    """Return the service key of the request: None without one, an empty string for malformed or contradictory ones.

    The key is the value of `X-TOKEN`, the bearer token, or the password of Basic authentication with any user name
    (RFC 6749, 2.3.1), which most libraries for introspection use.
    """
    keys = {key for key in (header_text(TOKEN_HEADER), _key_of_authorization()) if key is not None}
    return None if not keys else keys.pop() if len(keys) == 1 else ""


def _key_of_authorization() -> str | None:
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


def authenticate_service(key: str) -> CurrentService:
    """Set the current service from its key. Raises ServiceKeyInvalid."""
    service = services().service_keys.authenticate(key)
    g.current_service = service
    return service


def require_scope(key: str, scope: str) -> None:
    """Set the current service from its key, and require a scope. Raises ServiceKeyInvalid, ScopeMissing."""
    if scope not in authenticate_service(key).scopes:
        raise ScopeMissing(scope=scope)


def service(scope: str) -> Access:
    """Return the rule for services with a key of this scope. It does not accept the access token of a user."""

    def check() -> None:
        key = _service_key()
        if key is None:
            raise ServiceKeyMissing
        require_scope(key, scope)

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
        require_scope(key, SUPPLY_CODE)


anyone = Access(name="anyone", sentence="Access: anyone.", check=_allow_anyone, is_open=True)

USER_ERRORS = (TokenMissing, TokenExpired, TokenInvalid, CrossSite)
"""The errors of `require_user`."""

signed_in = Access(
    name="signed_in",
    sentence="Access: signed-in users.",
    check=require_unrestricted_user,
    errors=(*USER_ERRORS, SecondFactorEnrolmentRequired, InsufficientUserAuthentication),
    needs_token=True,
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
