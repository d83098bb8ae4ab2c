"""Factories of the token services: signing keys of access tokens, service keys."""

from auth_service.adapters.crypto.keys import Sealer
from auth_service.services.tokens.service_keys import ServiceKeys
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.settings import Settings


def signing_keys(settings: Settings) -> SigningKeys:
    """Build the signing keys of access tokens."""
    return SigningKeys(
        sealer=Sealer(settings.secret("keyring_key"), purpose="signing keys"),
        token_lifetime=settings.access_token_seconds,
    )


def service_keys() -> ServiceKeys:
    """Build the service keys, with which other services authenticate."""
    return ServiceKeys()
