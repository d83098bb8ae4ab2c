"""Verifier of access tokens (JWT) for services that accept the tokens of the authentication service."""

from auth_service_verifier.access_token import AccessToken
from auth_service_verifier.errors import (
    ConfigurationError,
    InsufficientUserAuthentication,
    IntrospectionUnavailable,
    KeysUnavailable,
    PermissionMissing,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenRevoked,
    Unavailable,
    VerificationError,
)
from auth_service_verifier.verifier import Verifier

__all__ = [
    "AccessToken",
    "ConfigurationError",
    "InsufficientUserAuthentication",
    "IntrospectionUnavailable",
    "KeysUnavailable",
    "PermissionMissing",
    "TokenExpired",
    "TokenInvalid",
    "TokenMissing",
    "TokenRevoked",
    "Unavailable",
    "VerificationError",
    "Verifier",
]
