"""Rate limits per client network or per caller, one for each group of endpoints."""

from collections.abc import Callable
from dataclasses import dataclass

from auth_service.adapters.redis.rate_limiter import Limit
from auth_service.api.current import services, settings
from auth_service.api.security.authorization import asks_about_self, caller
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

    def subject(self) -> str:
        """Return what requests are counted for."""
        return client_network()

    def count(self) -> None:
        """Count this request. Raises TooManyRequests."""
        windows = self.rate(settings()).windows
        hit = services().limiter.hit(Limit(name=self.name, windows=windows, subject=self.subject()))
        if not hit.allowed:
            raise TooManyRequests(retry_after=hit.wait.total_seconds())


@dataclass(frozen=True, slots=True)
class CallerRateLimit(ClientRateLimit):
    """A rate limit per user or service key."""

    def subject(self) -> str:
        """The user or the service key."""
        return caller().subject


@dataclass(frozen=True, slots=True)
class RateLimitOfOthers(CallerRateLimit):
    """A rate limit per caller that leaves out requests about the caller.

    They answer what `GET /users/me` does, which has no limit either, and the count would cost more than the answer.
    """

    parameter: str
    """The query parameter with the id of the user."""

    def count(self) -> None:
        """Count this request, unless it is about the caller. Raises TooManyRequests."""
        if not asks_about_self(self.parameter):
            CallerRateLimit.count(self)  # `super()` does not work in a dataclass with slots


LOOK_UPS = ClientRateLimit("limit_look_ups", lambda settings: settings.limit_look_ups)
SIGN_UPS = ClientRateLimit("limit_sign_ups", lambda settings: settings.limit_sign_ups)
CODE_REQUESTS = ClientRateLimit("limit_code_requests", lambda settings: settings.limit_code_requests)
CODE_ATTEMPTS = ClientRateLimit("limit_guesses", lambda settings: settings.limit_guesses)
SIGN_INS = ClientRateLimit("limit_sign_ins", lambda settings: settings.limit_sign_ins)
REFRESHES = ClientRateLimit("limit_refreshes", lambda settings: settings.limit_refreshes)
ADMIN_READS = CallerRateLimit("limit_admin_reads", lambda settings: settings.limit_admin_reads)
ADMIN_WRITES = CallerRateLimit("limit_admin_writes", lambda settings: settings.limit_admin_writes)
AUDIT_EXPORTS = CallerRateLimit("limit_audit_exports", lambda settings: settings.limit_audit_exports)
INVITATIONS = CallerRateLimit("limit_invitations", lambda settings: settings.limit_invitations)
REAUTHENTICATIONS = CallerRateLimit("limit_reauthentications", lambda settings: settings.limit_reauthentications)
SECOND_STEPS = ClientRateLimit("limit_second_steps", lambda settings: settings.limit_second_steps)
PASSKEY_CHALLENGES = ClientRateLimit("limit_passkey_challenges", lambda settings: settings.limit_passkey_challenges)
EXPORTS = ClientRateLimit("limit_exports", lambda settings: settings.limit_exports)
