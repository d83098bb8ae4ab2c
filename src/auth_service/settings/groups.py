"""Settings that belong together: how long things live, how often things may happen, what containers are told."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from auth_service.settings.types import Count, Lasting, Rate, RateLimit, Seconds


class Lifetimes(BaseSettings):
    """How long codes, tokens, sessions and records live, and what is asked of passwords."""

    code_lifetime_seconds: Lasting = Field(
        timedelta(minutes=10), description="Lifetime of a one-time code sent by email."
    )
    code_guesses: int = Field(5, ge=1, le=10, description="Failed attempts that invalidate a code.")
    ticket_guesses: int = Field(
        15, ge=1, le=100, description="Failed attempts of one registration ticket, over all of its codes."
    )
    ticket_lifetime_seconds: Lasting = Field(
        timedelta(hours=1), description="Lifetime of a flow ticket after its newest code."
    )
    temporary_user_lifetime_seconds: Lasting = Field(
        timedelta(days=7), description="Maintenance deletes users who have not confirmed their address after this time."
    )
    letter_lifetime_seconds: Seconds = Field(
        timedelta(days=30),
        description="Maintenance deletes the records of sent, expired and dead emails after this time.",
    )
    ended_session_lifetime_seconds: Seconds = Field(
        timedelta(days=30),
        description="Maintenance deletes the records of ended sessions after this time.",
    )
    history_lifetime_seconds: Seconds = Field(
        timedelta(days=365),
        ge=timedelta(days=30),
        description="Maintenance drops months of the audit log after this time; at least 30 days.",
    )
    password_min_length: int = Field(
        8, ge=8, le=15, description="Minimum length of a new password in characters, 8 to 15."
    )
    hashes_at_once: int = Field(
        1, ge=1, le=64, description="Password hashes that one process computes concurrently (19 MiB each)."
    )
    hashes_waiting: int = Field(
        48, ge=1, le=500, description="Requests of one process that may wait for a password hash; more get 503."
    )

    token_audience: str = Field("portal", min_length=1, max_length=200, description="Claim `aud` of access tokens.")
    access_token_seconds: Lasting = Field(timedelta(minutes=15), description="Lifetime of an access token.")
    session_idle_seconds: Lasting = Field(
        timedelta(days=7), description="A session that is not refreshed ends after this time."
    )
    session_absolute_seconds: Lasting = Field(
        timedelta(days=30), description="A session ends after this time in any case."
    )
    refresh_grace_seconds: Seconds = Field(
        timedelta(seconds=30),
        description="For this time a used refresh token returns the same successor, if that is unused.",
    )
    device_lifetime_seconds: Lasting = Field(
        timedelta(days=365), description="A device that is not used for this time is unknown to the account again."
    )
    undo_seconds: Lasting = Field(
        timedelta(hours=72),
        description="Lifetime of account revert links in security notifications (new device, changed address).",
    )
    reauthentication_seconds: Lasting = Field(
        timedelta(minutes=10),
        description="For this time after a sign-in by code, an account without a password can change its address.",
    )
    history_failures_a_day: Count = Field(
        100,
        description="Failed attempts that the audit log records in 24 hours for each account, and as many for all "
        "unknown addresses together.",
    )


class Limits(BaseSettings):
    """How often something may happen, for whom."""

    rate_limits: Literal["on", "off"] = Field(
        "on", description="`off` switches all rate limits and throttling off; `test` profile only."
    )
    limit_look_ups: RateLimit = Field(Rate("300/1m"), description="Look-ups by email address, for each client network.")
    limit_sign_ups: RateLimit = Field(Rate("120/1m,1000/1d"), description="Sign-ups, for each client network.")
    limit_guesses: RateLimit = Field(
        Rate("300/1m"),
        description="Confirmations of codes, finished registrations and account reverts, for each client network.",
    )
    limit_code_requests: RateLimit = Field(
        Rate("120/1m,600/1h"), description="Requests for codes, for each client network."
    )
    limit_sign_ins: RateLimit = Field(
        Rate("60/1m,1000/1h"), description="Sign-ins and other password checks, for each client network."
    )
    limit_refreshes: RateLimit = Field(Rate("300/1m"), description="Refreshes of tokens, for each client network.")
    limit_failed_sign_ins: RateLimit = Field(
        Rate("3000/10m,10000/1h"),
        description="Failed sign-ins by password of all clients together; beyond this only known devices can sign in.",
    )
    limit_exports: RateLimit = Field(Rate("5/1m,30/1h"), description="Data exports, for each client network.")
    limit_email_changes: RateLimit = Field(Rate("5/1h,20/1d"), description="Changes of address, for each user.")
    # With the pauses, which soon are a day long, no more than a hundred in the first weeks: NIST SP 800-63B-4, 3.2.2.
    sign_in_free_attempts: int = Field(
        5,
        ge=1,
        le=64,
        description="Attempts for an address before throttling begins; concurrent attempts count.",
    )
    limit_codes: RateLimit = Field(Rate("3/1m,5/1h"), description="Codes of one purpose, for each address.")
    limit_codes_a_day: Count = Field(
        10, description="Codes of all purposes in 24 hours, for each address; counted in PostgreSQL."
    )
    limit_codes_per_network: RateLimit = Field(
        Rate("8/1d"),
        description="Codes of all purposes, for each address and client network; the rest is for other networks.",
    )
    limit_codes_altogether: RateLimit = Field(
        Rate("20000/1h"), description="Codes of all clients together (global limit)."
    )


class ForContainers(BaseSettings):
    """What stands in the same `.env` and is read by Compose."""

    publish_port: int = Field(
        5000, ge=1, le=65535, description="Read by `docker-compose.yml` only: port of nginx on the host."
    )
    postgres_password: SecretStr | None = Field(
        None, description="Read by `docker-compose.yml` only: password of the database owner."
    )
    app_database_password: SecretStr | None = Field(
        None, description="Read by `docker-compose.yml` only: password of the database role of the service."
    )
    redis_password: SecretStr | None = Field(None, description="Read by `docker-compose.yml` only: password of Redis.")
