"""Forward auth: a gateway asks whether the request that it describes is authorized (`auth_request` of nginx)."""

import re
from datetime import timedelta

from auth_service.api.http.parsing import header_text
from auth_service.api.security.authentication import (
    Access,
    current_user,
    require_scope,
    require_unrestricted_user,
    signed_in,
)
from auth_service.api.security.authorization import require_authentication
from auth_service.api.security.csrf import CSRF_HEADER
from auth_service.errors import (
    InsufficientUserAuthentication,
    PermissionMissing,
    ScopeMissing,
    ServiceKeyInvalid,
    ValidationFailed,
)
from auth_service.errors.fields import FieldError, FieldReason
from auth_service.models.permission import has_permission
from auth_service.models.service_key import VERIFY
from auth_service.services.sessions.authentication_levels import LEVELS

SERVICE_KEY_HEADER = "X-Service-Key"
METHOD_HEADERS = ("X-Original-Method", "X-Forwarded-Method")
ACR_HEADER, MAX_AGE_HEADER, PERMISSION_HEADER = "X-Require-Acr", "X-Require-Max-Age", "X-Require-Permission"
SECONDS = re.compile("[0-9]{1,9}", re.ASCII)


def _check() -> None:
    if (key := header_text(SERVICE_KEY_HEADER)) is not None:
        require_scope(key, VERIFY)
    methods = [header_text(name) for name in METHOD_HEADERS]
    require_unrestricted_user(*(method.upper() for method in methods if method is not None))
    _require_permission(header_text(PERMISSION_HEADER))
    _require_authentication(header_text(ACR_HEADER), header_text(MAX_AGE_HEADER))


def _require_permission(permission: str | None) -> None:
    if permission is not None and not has_permission(permission, of=current_user()):
        raise PermissionMissing(permission=permission)


def _require_authentication(acr: str | None, max_age: str | None) -> None:
    """Require a level and an age. A value that cannot be read is an error: ignoring it would let the request pass."""
    if acr is not None and acr not in LEVELS:
        _reject(ACR_HEADER, FieldReason.UNKNOWN_VALUE, f"Send one of {', '.join(LEVELS)}.")
    if max_age is not None and not SECONDS.fullmatch(max_age):
        _reject(MAX_AGE_HEADER, FieldReason.MALFORMED, "Send a whole number of seconds.")
    if acr is not None or max_age is not None:
        require_authentication(
            acr=acr or LEVELS[0], max_age=None if max_age is None else timedelta(seconds=int(max_age))
        )


def _reject(header: str, reason: FieldReason, message: str) -> None:
    raise ValidationFailed(FieldError(field=header, reason=reason, msg=message))


forward_auth = Access(
    name="forward_auth",
    sentence="Access: signed-in users, directly or through a gateway that forwards their credentials.",
    check=_check,
    errors=(
        *signed_in.errors,
        ServiceKeyInvalid,
        ScopeMissing,
        PermissionMissing,
        InsufficientUserAuthentication,
    ),
    needs_token=True,
    headers={
        SERVICE_KEY_HEADER: f"The service key of the gateway, of scope `{VERIFY}`, if it has one.",
        **dict.fromkeys(METHOD_HEADERS, "The method of the original request; if both headers are sent, both count."),
        ACR_HEADER: "The authentication level that the gateway requires: `aal1` or `aal2` (RFC 9470).",
        MAX_AGE_HEADER: "The seconds since the authentication that the gateway allows.",
        PERMISSION_HEADER: "The permission that the gateway requires.",
        CSRF_HEADER: (
            "The header of the original request; required where cookies authenticate a request of an unsafe method."
        ),
    },
)
