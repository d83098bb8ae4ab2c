"""Passkey endpoints (WebAuthn): the passkeys of the current user, and authentication with a passkey."""

from auth_service.api.v1.passkeys.my_passkeys import passkeys
from auth_service.api.v1.passkeys.reauthentication import account
from auth_service.api.v1.passkeys.sign_in import sessions

__all__ = ["account", "passkeys", "sessions"]
