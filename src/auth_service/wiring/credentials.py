"""Factories of the credential services: passwords, one-time codes, rate limits of codes, login throttle."""

from datetime import timedelta

from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.crypto.password_hasher import PasswordHasher
from auth_service.adapters.redis.client import RedisClient
from auth_service.adapters.redis.code_store import CodeStore
from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.adapters.redis.rate_limiter import RateLimiter
from auth_service.services.credentials.code_limits import CodeLimiter, CodeLimits
from auth_service.services.credentials.passwords import Passwords
from auth_service.settings import Settings


def passwords(settings: Settings) -> Passwords:
    """Build the password rules and the password hasher."""
    return Passwords(
        hasher=PasswordHasher(concurrent=settings.hashes_at_once, waiting=settings.hashes_waiting),
        min_length=settings.password_min_length,
        service_name=settings.service_name,
    )


def code_store(settings: Settings, redis: RedisClient) -> CodeStore:
    """Build the store of emailed codes."""
    return CodeStore(
        redis=redis,
        digests=Digests(settings.secret("code_key"), purpose="challenges"),
        code_lifetime=settings.code_lifetime_seconds,
        ticket_lifetime=settings.ticket_lifetime_seconds,
        attempts=settings.code_guesses,
        total_attempts=settings.ticket_guesses,
    )


def code_limiter(settings: Settings, limiter: RateLimiter) -> CodeLimiter:
    """Build the rate limits of sending codes."""
    return CodeLimiter(
        limiter=limiter,
        limits=CodeLimits(
            per_address_and_network=settings.limit_codes_per_network.windows,
            a_day=settings.limit_codes_a_day,
            reserved=settings.limit_codes_reserved,
            global_limit=settings.limit_codes_altogether.windows,
        ),
    )


def login_throttle(settings: Settings, redis: RedisClient) -> LoginThrottle:
    """Build the login throttle, which delays brute force attacks on passwords."""
    return LoginThrottle(
        store=redis,
        digests=Digests(settings.secret("code_key"), purpose="throttles"),
        free=settings.sign_in_free_attempts,
        first_pause=timedelta(seconds=1),
        longest_pause=timedelta(days=1),
        forget=timedelta(days=2),
        reserved=settings.sign_in_reserved_attempts,
        enabled=settings.rate_limits == "on",
    )
