"""Settings that belong together: how long things live, how often things may happen, what containers are told."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from auth_service.settings.types import Count, Lasting, Rate, RateLimit, Seconds


class Lifetimes(BaseSettings):
    """How long codes, tokens, sessions and records live, and what is asked of passwords."""

    code_lifetime_seconds: Lasting = Field(timedelta(minutes=10), description="How long a mailed code lives.")
    code_guesses: int = Field(5, ge=1, le=10, description="Wrong guesses that burn a code.")
    ticket_guesses: int = Field(
        15, ge=1, le=100, description="Wrong guesses in one registration, over all of its codes."
    )
    ticket_lifetime_seconds: Lasting = Field(
        timedelta(hours=1), description="How long a registration ticket lives after its newest code."
    )
    temporary_user_lifetime_seconds: Lasting = Field(
        timedelta(days=7), description="After this `manage.py maintenance` removes users who never confirmed."
    )
    letter_lifetime_seconds: Seconds = Field(
        timedelta(days=30), description="After this `manage.py maintenance` removes the records of ended letters."
    )
    ended_session_lifetime_seconds: Seconds = Field(
        timedelta(days=30),
        description="After this `manage.py maintenance` removes the records of sessions that have ended.",
    )
    history_lifetime_seconds: Seconds = Field(
        timedelta(days=365),
        ge=timedelta(days=30),
        description="After this `manage.py maintenance` drops months of the history; at least 30 days.",
    )
    password_min_length: int = Field(8, ge=8, le=15, description="Minimum length of a new password, in characters.")
    hashes_at_once: int = Field(1, ge=1, le=64, description="Passwords that one process hashes at once (19 MiB each).")
    hashes_waiting: int = Field(
        48, ge=1, le=500, description="Requests of one process that may wait for their hash; more are told 503."
    )

    token_audience: str = Field("portal", min_length=1, max_length=200, description="The `aud` of access tokens.")
    access_token_seconds: Lasting = Field(timedelta(minutes=15), description="How long an access token is good.")
    session_idle_seconds: Lasting = Field(
        timedelta(days=7), description="A session that is not refreshed ends after this."
    )
    session_absolute_seconds: Lasting = Field(timedelta(days=30), description="A session ends after this in any case.")
    refresh_grace_seconds: Seconds = Field(
        timedelta(seconds=30), description="How long a used refresh token gives its unused successor again."
    )
    device_lifetime_seconds: Lasting = Field(
        timedelta(days=365), description="How long a device is known to its owner."
    )
    undo_seconds: Lasting = Field(
        timedelta(hours=72), description="How long the links in letters about a new device or address undo that."
    )
    reauthentication_seconds: Lasting = Field(
        timedelta(minutes=10),
        description="How long after a sign-in by code an account without a password may change its address.",
    )
    history_failures_a_day: Count = Field(
        100,
        description="Failed attempts that are written down in a day: so many for each account, and as many for all "
        "addresses that nobody has.",
    )


class Limits(BaseSettings):
    """How often something may happen, for whom."""

    rate_limits: Literal["on", "off"] = Field("on", description="`off` exists for the `test` profile only.")
    limit_look_ups: RateLimit = Field(Rate("300/1m"), description="Look-ups by e-mail, for a client network.")
    limit_sign_ups: RateLimit = Field(Rate("120/1m,1000/1d"), description="Sign-ups, for a client network.")
    limit_guesses: RateLimit = Field(
        Rate("300/1m"), description="Confirmations and finished registrations, for a client network."
    )
    limit_code_requests: RateLimit = Field(
        Rate("120/1m,600/1h"), description="Requests for codes, for a client network."
    )
    limit_sign_ins: RateLimit = Field(Rate("60/1m,1000/1h"), description="Sign-ins, for a client network.")
    limit_refreshes: RateLimit = Field(Rate("300/1m"), description="Refreshed tokens, for a client network.")
    limit_failed_sign_ins: RateLimit = Field(
        Rate("3000/10m,10000/1h"),
        description="Failed sign-ins of everybody; beyond them only devices that their owner has used before sign in.",
    )
    limit_exports: RateLimit = Field(Rate("5/1m,30/1h"), description="Data exports, for a client network.")
    limit_email_changes: RateLimit = Field(Rate("5/1h,20/1d"), description="Changes of address that a user may begin.")
    # With the pauses, which soon are a day long, no more than a hundred in the first weeks: NIST SP 800-63B-4, 3.2.2.
    sign_in_free_attempts: int = Field(
        5,
        ge=1,
        le=64,
        description="Attempts at an address before pauses begin to grow, those at the same moment included.",
    )
    limit_codes: RateLimit = Field(Rate("3/1m,5/1h"), description="Codes for an address.")
    limit_codes_a_day: Count = Field(10, description="Codes for an address in 24 hours, counted in PostgreSQL.")
    limit_codes_per_network: RateLimit = Field(
        Rate("8/1d"),
        description="Codes for an address that one client network may ask for; the rest is left for its owner.",
    )
    limit_codes_altogether: RateLimit = Field(Rate("20000/1h"), description="Codes for everybody.")


class ForContainers(BaseSettings):
    """What stands in the same `.env` and is read by Compose."""

    publish_port: int = Field(
        5000, ge=1, le=65535, description="Read by `docker-compose.yml` only: nginx's port on the host."
    )
    postgres_password: SecretStr | None = Field(
        None, description="Read by `docker-compose.yml` only: the password of the database's owner."
    )
    app_database_password: SecretStr | None = Field(
        None, description="Read by `docker-compose.yml` only: the password of the role that the service uses."
    )
    redis_password: SecretStr | None = Field(None, description="Read by `docker-compose.yml` only: Redis's password.")
