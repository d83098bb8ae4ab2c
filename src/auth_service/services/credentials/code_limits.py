"""Rate limits of one-time codes by email, for all purposes together, and of invitations."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.adapters.redis.network_share import SharedLimit
from auth_service.adapters.redis.rate_limiter import Limit, RateLimiter, Windows
from auth_service.errors import TooManyCodes


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeLimits:
    """Rate limits of emailed codes, for all purposes together.

    The outbox counts the daily cap of an address in PostgreSQL too, because Redis may lose its data.
    """

    per_address_and_network: Windows
    a_day: int
    """The daily cap of an address, for all networks together."""
    reserved: int
    """How many codes of the daily cap are kept for networks that had none in the last 24 hours."""
    global_limit: Windows


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeLimiter:
    """Counts emailed codes and invitations against their rate limits, before any other work is done."""

    limiter: RateLimiter
    limits: CodeLimits

    def count(self, *, key: str, network: str) -> timedelta:
        """Count one code for an address and a network; return the time until the next one.

        No limit is for the address alone, so that an attacker who knows the address cannot lock its owner out with one
        or two networks. Unknown addresses are counted alike: a limit that only known ones reach would reveal them (user
        enumeration). Raises TooManyCodes, RedisUnavailable.
        """
        hit = self.limiter.hit_in_redis(
            Limit(name="codes_per_network", windows=self.limits.per_address_and_network, subject=f"{key} {network}"),
            SharedLimit(
                name="codes_a_day",
                subject=key,
                network=network,
                limit=self.limits.a_day,
                reserved=self.limits.reserved,
            ),
            Limit(name="codes_altogether", windows=self.limits.global_limit, subject=""),
        )
        if not hit.allowed:
            raise TooManyCodes(retry_after=hit.wait.total_seconds())
        return hit.wait
