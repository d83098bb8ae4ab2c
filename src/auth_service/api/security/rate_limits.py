"""Rate limits per client network, one for each group of endpoints."""

from collections.abc import Callable
from dataclasses import dataclass

from auth_service.adapters.redis.rate_limiter import Limit
from auth_service.api.current import services, settings
from auth_service.api.security.client import client_network
from auth_service.errors import TooManyRequests
from auth_service.settings import Rate, Settings


@dataclass(frozen=True, slots=True)
class ClientRateLimit:
    """A rate limit per client network."""

    name: str
    """The name of the setting; part of the keys in Redis."""
    rate: Callable[[Settings], Rate]
    """Reads the rate from the settings."""

    def count(self) -> None:
        """Count this request. Raises TooManyRequests."""
        windows = self.rate(settings()).windows
        hit = services().limiter.hit(Limit(name=self.name, windows=windows, subject=client_network()))
        if not hit.allowed:
            raise TooManyRequests(retry_after=hit.wait.total_seconds())


LOOK_UPS = ClientRateLimit("limit_look_ups", lambda settings: settings.limit_look_ups)
SIGN_UPS = ClientRateLimit("limit_sign_ups", lambda settings: settings.limit_sign_ups)
CODE_REQUESTS = ClientRateLimit("limit_code_requests", lambda settings: settings.limit_code_requests)
CODE_ATTEMPTS = ClientRateLimit("limit_guesses", lambda settings: settings.limit_guesses)
SIGN_INS = ClientRateLimit("limit_sign_ins", lambda settings: settings.limit_sign_ins)
REFRESHES = ClientRateLimit("limit_refreshes", lambda settings: settings.limit_refreshes)
EXPORTS = ClientRateLimit("limit_exports", lambda settings: settings.limit_exports)
