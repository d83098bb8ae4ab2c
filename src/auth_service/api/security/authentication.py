"""Who may call an endpoint. Each endpoint says so; there is no default that an omission could open."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flask import g, request

from auth_service.api.current import services
from auth_service.api.security import csrf, session_cookies
from auth_service.api.security.client_info import client_info
from auth_service.errors import (
    CrossSite,
    ScopeMissing,
    ServiceError,
    ServiceKeyInvalid,
    ServiceKeyMissing,
    TokenInvalid,
    TokenMissing,
)
from auth_service.models.audit_event import EventType
from auth_service.models.service_key import SUPPLY_CODE, VERIFY
from auth_service.services.sessions.sessions import CurrentUser
from auth_service.services.tokens.service_keys import CurrentService

SERVICE_KEY_HEADER = "X-Service-Key"
METHOD_HEADERS = ("X-Original-Method", "X-Forwarded-Method")


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A rule about callers: its check raises a refusal, its sentence is shown on the Swagger page."""

    name: str
    sentence: str
    check: Callable[[], None]
    errors: tuple[type[ServiceError], ...] = ()
    is_open: bool = False
    """Whether a request without any credentials is let in."""
    needs_token: bool = False
    takes_service_key: bool = False
    """Whether a service key is, or may be, what a request is allowed by."""
    heeds: Mapping[str, str] = field(default_factory=dict)
    """Headers that it looks at beside those of credentials, with what they say."""


def caller() -> CurrentUser:
    """Whoever calls; known where the endpoint's access is `signed_in`."""
    known: CurrentUser = g.caller
    return known


def current_service() -> CurrentService | None:
    """The service that calls, where the endpoint's access takes a service key and one came."""
    known: CurrentService | None = g.get("calling_service")
    return known


def _allow_anyone() -> None:
    return None


def require_user() -> None:
    """Set the current user from the access token, and check CSRF. Raises TokenMissing, TokenInvalid, CrossSite."""
    g.caller = services().sessions.current_user(_presented())
    _check_csrf(request.method)


def audit_denied(refusal: ServiceError) -> None:
    """Record the audit event `access_denied` for the user of this request, if it is known already."""
    caller: CurrentUser | None = g.get("caller")
    if caller is None:
        return
    services().history.record_failure(
        EventType.ACCESS_DENIED,
        user_id=caller.id,
        client=client_info(),
        session_id=caller.session_id,
        refusal=refusal.code,
    )


def _require_user_or_gateway() -> None:
    """As `require_user`, for a request that was sent to something else, which asks us whether to let it through."""
    if (key := request.headers.get(SERVICE_KEY_HEADER)) is not None:
        _admit(key, VERIFY)
    g.caller = services().sessions.current_user(_presented())
    _check_csrf(request.method, *_original_methods())


def _original_methods() -> list[str]:
    """The method of the request that a gateway asks about, by either of the names that gateways give it."""
    named = [request.headers.get(name) for name in METHOD_HEADERS]
    return [method.upper() for method in named if method is not None]


def _check_csrf(*methods: str) -> None:
    """Where cookies speak for the request, see that it is no page of somebody else that made the browser send them.

    Only once it is known whom they speak for, so that a forged request stands in that person's history.
    """
    if "Authorization" not in request.headers:
        csrf.check_csrf(*methods)


def _presented() -> str:
    """The access token of the request. A bearer call ignores cookies: no authority that the caller did not name."""
    header = request.headers.get("Authorization")
    if header is None:
        cookie = session_cookies.access_token()
        if cookie is None:
            raise TokenMissing
        return cookie
    token = _bearer(header)
    if token is None:
        raise TokenInvalid
    return token


def _bearer(header: str) -> str | None:
    scheme, _, token = header.partition(" ")
    return token if scheme.lower() == "bearer" and token and token.isascii() else None


def _presented_key() -> str | None:
    """The service key of the request; what is no key stays, to be refused.

    As a bearer token, or as the password of Basic authentication (RFC 6749, 2.3.1), which is how most libraries for
    introspection say who they are; whatever the user name is.
    """
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return _bearer(header) or ""
    try:
        return base64.b64decode(credentials, validate=True).decode("ascii").partition(":")[2]
    except ValueError:
        return ""


def _admit(key: str, scope: str) -> None:
    g.current_service = services().service_keys.admit(key, scope=scope)


def service(scope: str) -> Access:
    """Services with a key of this scope. A user's token opens nothing here."""

    def check() -> None:
        key = _presented_key()
        if key is None:
            raise ServiceKeyMissing
        _admit(key, scope)

    return Access(
        name=f"service {scope}",
        sentence=f"Services may call this, with a key of scope `{scope}`.",
        check=check,
        errors=(ServiceKeyMissing, ServiceKeyInvalid, ScopeMissing),
        takes_service_key=True,
    )


def _anyone_or_service() -> None:
    # A credential that is not good is never taken for none.
    if (key := _presented_key()) is not None:
        _admit(key, SUPPLY_CODE)


anyone = Access(name="anyone", sentence="Anyone may call this.", check=_allow_anyone, is_open=True)

signed_in = Access(
    name="signed_in",
    sentence="Whoever is signed in may call this.",
    check=require_user,
    errors=(TokenMissing, TokenInvalid, CrossSite),
    needs_token=True,
)

forward_auth = Access(
    name="at_a_gateway",
    sentence="Whoever is signed in may call this, in person or through a gateway that passes their request on.",
    check=_require_user_or_gateway,
    errors=(TokenMissing, TokenInvalid, CrossSite, ServiceKeyInvalid, ScopeMissing),
    needs_token=True,
    heeds={
        SERVICE_KEY_HEADER: f"The gateway's own service key, of scope `{VERIFY}`, if it has one.",
        **dict.fromkeys(METHOD_HEADERS, "The method of the original request; of two that are named, both count."),
        csrf.CSRF_HEADER: "That of the original request; needed where cookies speak for an unsafe one.",
    },
)

anyone_or_service = Access(
    name="anyone_or_service",
    sentence=f"Anyone may call this. A service with a key of scope `{SUPPLY_CODE}` may also bring codes in production.",
    check=_anyone_or_service,
    is_open=True,
    errors=(ServiceKeyInvalid, ScopeMissing),
    takes_service_key=True,
)
