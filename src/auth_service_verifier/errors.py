"""Errors of token verification: each has the HTTP status, the error code and the headers of the answer to a client."""

from typing import Any, ClassVar


class ConfigurationError(Exception):
    """The verifier was called with wrong settings, or its service key is not accepted. An operator has to act."""


class VerificationError(Exception):
    """A request is not authorized by its access token. The text of the exception is for the log, not for the client."""

    status: ClassVar[int]
    code: ClassVar[str]
    message: ClassVar[str]

    def body(self) -> dict[str, Any]:
        """Return the error for the body of the answer, in the form of the authentication service."""
        return {"code": self.code, "msg": self.message}

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer: `WWW-Authenticate` (RFC 6750, 3) or `Retry-After`."""
        return {}


class TokenMissing(VerificationError):
    """The request has no bearer token."""

    status = 401
    code = "token_missing"
    message = "Sign in, and send the access token as bearer token in the header `Authorization`."

    def headers(self) -> dict[str, str]:
        """Return a challenge without `error`, because the client sent no credentials (RFC 6750, 3.1)."""
        return {"WWW-Authenticate": "Bearer"}


class TokenInvalid(VerificationError):
    """The token is not a valid access token of the issuer for this audience."""

    status = 401
    code = "token_invalid"
    message = "Sign in again, and send the new access token."

    def headers(self) -> dict[str, str]:
        """Return the challenge of RFC 6750 (3.1)."""
        return {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class TokenExpired(TokenInvalid):
    """The token is genuine and has expired."""

    code = "token_expired"
    message = "Refresh the access token, then send the request again."


class TokenRevoked(TokenInvalid):
    """The token is genuine, but its session has ended, as introspection says."""


class InsufficientUserAuthentication(VerificationError):
    """The user has to authenticate again, or at a higher level: step-up (RFC 9470)."""

    status = 401
    code = "insufficient_user_authentication"
    message = "This request needs a newer or a stronger authentication; reauthenticate, then send it again."

    def __init__(self, *, acr: str | None, max_age: int | None) -> None:
        """`acr` and `max_age` are what the endpoint requires."""
        super().__init__(f"acr={acr}, max_age={max_age}")
        self.acr = acr
        self.max_age = max_age

    def _required(self) -> dict[str, Any]:
        required = {"acr_values": self.acr, "max_age": self.max_age}
        return {name: value for name, value in required.items() if value is not None}

    def body(self) -> dict[str, Any]:
        """Return the error with the required level and age."""
        return super().body() | self._required()

    def headers(self) -> dict[str, str]:
        """Return the challenge of RFC 9470 (3)."""
        required = "".join(f', {name}="{value}"' for name, value in self._required().items())
        return {"WWW-Authenticate": f'Bearer error="{self.code}"{required}'}


class PermissionMissing(VerificationError):
    """No role of the user has the permission."""

    status = 403
    code = "permission_missing"
    message = "This request needs the permission in `permission`; ask an administrator to grant a role that has it."

    def __init__(self, permission: str) -> None:
        """`permission` is what the endpoint requires."""
        super().__init__(permission)
        self.permission = permission

    def body(self) -> dict[str, Any]:
        """Return the error with the missing permission."""
        return super().body() | {"permission": self.permission}


class Unavailable(VerificationError):
    """The authentication service cannot be reached, so the token can be neither accepted nor rejected."""

    status = 503
    code = "verification_unavailable"
    message = "The token cannot be verified at the moment; send the request again after `Retry-After` seconds."

    def headers(self) -> dict[str, str]:
        """Return when to try again."""
        return {"Retry-After": "1"}


class KeysUnavailable(Unavailable):
    """The signing keys (JWKS) cannot be fetched, and none in the cache verifies this token."""


class IntrospectionUnavailable(Unavailable):
    """The introspection endpoint did not answer in time, or not as RFC 7662 requires."""
