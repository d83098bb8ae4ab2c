"""Verifier of access tokens: locally by the signing keys, by introspection only where a permission is required."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from auth_service_verifier.access_token import LEEWAY, AccessToken, kid_of, verified
from auth_service_verifier.errors import (
    ConfigurationError,
    InsufficientUserAuthentication,
    PermissionMissing,
    TokenInvalid,
    TokenMissing,
)
from auth_service_verifier.introspection import Introspection
from auth_service_verifier.key_cache import KeyCache
from auth_service_verifier.network import TIME_LIMIT, checked_url

LEVELS = ("aal1", "aal2")
"""Authentication levels, in ascending order: one factor; one passkey or two factors."""
ADMINISTRATOR = "ROLE_PORTAL_ADMIN"
"""The role that has every permission."""
FORM_OF_KEY = re.compile(r"[A-Za-z0-9_]{1,200}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirements:
    """What an endpoint requires besides a valid token; None: nothing."""

    acr: str | None = None
    max_age: int | None = None
    permission: str | None = None


class Verifier:
    """Verifies the access tokens of one issuer for one audience. Create one for each process: it caches the keys."""

    def __init__(
        self,
        jwks_url: str,
        issuer: str,
        audience: str,
        *,
        introspection_url: str | None = None,
        service_key: str | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        """`issuer` is exactly the `PUBLIC_URL` of the authentication service, `audience` its `TOKEN_AUDIENCE`.

        `introspection_url` and `service_key` (scope `tokens:introspect`) are needed for `permission`. `time_limit` is
        in seconds: how long a request waits for a connection or for data. Raises ConfigurationError.
        """
        if not issuer or not audience:
            raise ConfigurationError(
                "issuer, audience: pass both; without them any token of the keys would be accepted"
            )
        if (introspection_url is None) != (service_key is None):
            raise ConfigurationError("introspection_url, service_key: pass both or none")
        self._issuer = issuer
        self._audience = audience
        self._keys = KeyCache(checked_url(jwks_url, name="jwks_url"), time_limit=time_limit)
        self._introspection = (
            Introspection(
                url=checked_url(introspection_url, name="introspection_url"),
                service_key=_checked_key(service_key),
                time_limit=time_limit,
            )
            if introspection_url is not None and service_key is not None
            else None
        )

    def verify(
        self, token: str, *, acr: str | None = None, max_age: int | None = None, permission: str | None = None
    ) -> AccessToken:
        """Verify an access token; `acr` is the lowest level, `max_age` the longest time since the authentication.

        Without `permission` no request is sent, except for the keys once in five minutes; a revoked session is accepted
        until the token expires. With `permission` introspection decides about the session and the permission.

        Raises TokenInvalid, TokenExpired, TokenRevoked, PermissionMissing,
        InsufficientUserAuthentication; KeysUnavailable and IntrospectionUnavailable (503); ConfigurationError.
        """
        return self.verify_all(token, self.requirements(acr=acr, max_age=max_age, permission=permission))

    def requirements(
        self, *, acr: str | None = None, max_age: int | None = None, permission: str | None = None
    ) -> Requirements:
        """Return checked requirements, so that a mistake is found at the start. Raises ConfigurationError."""
        if acr is not None and acr not in LEVELS:
            raise ConfigurationError(f"acr: use one of {', '.join(LEVELS)}")
        if max_age is not None and (type(max_age) is not int or max_age < 0):
            raise ConfigurationError("max_age: use a whole number of seconds")
        if permission is not None and self._introspection is None:
            raise ConfigurationError(
                "permission: pass introspection_url and service_key to Verifier; a token has roles, not permissions"
            )
        if permission == "":
            raise ConfigurationError("permission: name one, such as films:edit")
        return Requirements(acr=acr, max_age=max_age, permission=permission)

    def verify_all(self, token: str, required: Requirements) -> AccessToken:
        """Verify an access token against the result of `requirements`. Raises what `verify` raises."""
        access_token = verified(token, self._keys.key(kid_of(token)), issuer=self._issuer, audience=self._audience)
        if required.permission is not None and self._introspection is not None:
            access_token = self._introspection.current(token, access_token)
            if not _has_permission(access_token, required.permission):
                raise PermissionMissing(required.permission)
        if not (_has_level(access_token, required.acr) and _is_recent(access_token, required.max_age)):
            raise InsufficientUserAuthentication(acr=required.acr, max_age=required.max_age)
        return access_token


def bearer_token(authorization: str | None) -> str:
    """Return the token of an `Authorization` header (RFC 6750, 2.1). Raises TokenMissing, TokenInvalid."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if not scheme:
        raise TokenMissing("no header")
    if scheme.lower() != "bearer":
        raise TokenInvalid("not a bearer token")
    return token.strip()


def _checked_key(service_key: str) -> str:
    """Return the key without the white space that files have at their end. Raises ConfigurationError."""
    if not FORM_OF_KEY.fullmatch(key := service_key.strip()):
        raise ConfigurationError("service_key: pass the key as it was printed when it was created")
    return key


def _has_permission(token: AccessToken, permission: str) -> bool:
    return permission in (token.permissions or ()) or ADMINISTRATOR in token.roles


def _has_level(token: AccessToken, acr: str | None) -> bool:
    return acr is None or (token.acr in LEVELS and LEVELS.index(token.acr) >= LEVELS.index(acr))


def _is_recent(token: AccessToken, max_age: int | None) -> bool:
    if max_age is None:
        return True
    return token.auth_time is not None and datetime.now(UTC) - token.auth_time <= timedelta(seconds=max_age) + LEEWAY
