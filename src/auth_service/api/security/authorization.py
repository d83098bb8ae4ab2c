"""Authorization: the access rules `permission(…)` and `restricted`, and step-up authentication (RFC 9470)."""

from dataclasses import replace
from datetime import timedelta

from flask import request

from auth_service.api.current import settings
from auth_service.api.security.authentication import (
    USER_ERRORS,
    Access,
    authenticate_service,
    caller_of,
    current_service,
    current_user,
    insufficient_authentication,
    presented_service_key,
    require_unrestricted_user,
    require_user,
    signed_in,
)
from auth_service.api.security.csrf import SAFE_METHODS
from auth_service.errors import InsufficientUserAuthentication, PermissionMissing, ServiceKeyInvalid
from auth_service.models import PORTAL_ADMIN
from auth_service.models.permission import Permission
from auth_service.services.caller import Caller, CallerType
from auth_service.services.sessions.authentication_levels import AAL1, AAL2, satisfies


def caller() -> Caller:
    """Return who sends the request: the user, or the service of the key. Only for endpoints with an access rule."""
    service = current_service()
    if service is not None:
        return caller_of(service)
    user = current_user()
    return Caller(
        type=CallerType.USER,
        id=str(user.id),
        permissions=frozenset(user.permissions),
        is_administrator=PORTAL_ADMIN in user.roles,
    )


def require_recent() -> None:
    """Require that the user authenticated within `REAUTHENTICATION_SECONDS`, at the required level of the account.

    Raises InsufficientUserAuthentication.
    """
    require_authentication(acr=current_user().required_level, max_age=settings().reauthentication_seconds)


def require_authentication(*, acr: str, max_age: timedelta | None) -> None:
    """Require the authentication level `acr`, at most `max_age` ago. Raises InsufficientUserAuthentication."""
    user = current_user()
    if not satisfies(user.acr, acr) or (max_age is not None and not user.authenticated_within(max_age)):
        raise insufficient_authentication(acr=acr, max_age=max_age)


def _authenticate_caller() -> None:
    key = presented_service_key()
    if key is not None:
        authenticate_service(key)
    else:
        require_unrestricted_user()


def _require_permission(required: Permission) -> None:
    service = current_service()
    if required not in (service.scopes if service is not None else current_user().permissions):
        raise PermissionMissing(permission=required.value)
    if service is None and request.method not in SAFE_METHODS:
        require_recent()


def permission(required: Permission) -> Access:
    """Return the rule for users one of whose roles has the permission, and for services whose key has it as a scope.

    A write by a user also requires a recent authentication: a stolen access token alone must not change who may do
    what.
    """

    def check() -> None:
        _authenticate_caller()
        _require_permission(required)

    return Access(
        name=f"permission {required}",
        sentence=f"Access: users and services with the permission `{required}`. A write by a user needs a recent "
        "authentication.",
        check=check,
        errors=(*signed_in.errors, ServiceKeyInvalid, PermissionMissing, InsufficientUserAuthentication),
        needs_token=True,
        takes_service_key=True,
        permission=required,
        audits_step_up=True,
    )


def asks_about_self(parameter: str) -> bool:
    """Return whether a user, not a service, sends the own id as the only value of a query parameter."""
    return current_service() is None and request.args.getlist(parameter) == [str(current_user().id)]


def own_or_permission(required: Permission, *, parameter: str) -> Access:
    """Return the rule `permission`, except that every user may ask about the own id in a query parameter."""
    rule = permission(required)

    def check() -> None:
        _authenticate_caller()
        if not asks_about_self(parameter):
            _require_permission(required)

    return replace(
        rule,
        name=f"own or {rule.name}",
        sentence=f"Access: users for their own id; for others users and services with the permission `{required}`.",
        check=check,
    )


restricted = replace(
    signed_in,
    name="restricted",
    sentence="Access: signed-in users, also before they enrol a required second factor.",
    check=require_user,
    errors=USER_ERRORS,
)


def _require_recent_factors() -> None:
    require_unrestricted_user()
    require_recent()


recent = replace(
    signed_in,
    name="recent",
    sentence="Access: signed-in users with a recent authentication.",
    check=_require_recent_factors,
)


def _require_recent_for_enrolment() -> None:
    require_user()
    user = current_user()
    level = user.required_level if user.has_factor else AAL1
    require_authentication(acr=level, max_age=settings().reauthentication_seconds)


recent_or_restricted = replace(
    restricted,
    name="recent, restricted",
    sentence=(
        "Access: signed-in users with a recent authentication. The first factor suffices for it before the enrolment "
        "of the first second factor."
    ),
    check=_require_recent_for_enrolment,
    errors=(*USER_ERRORS, InsufficientUserAuthentication),
)


def _require_recent_with_second_factor() -> None:
    require_unrestricted_user()
    if current_user().required_level == AAL2:
        require_recent()


signed_in_strongly = replace(
    signed_in,
    name="signed_in, recent with a second factor",
    sentence=(
        "Access: signed-in users. If the account requires a second factor, the authentication has to be recent: the "
        "password alone is not sufficient."
    ),
    check=_require_recent_with_second_factor,
)
