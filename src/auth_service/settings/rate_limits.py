"""Settings of rate limits, login throttling and daily caps."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from auth_service.settings.types import Count, Rate, RateLimit


class AuditSettings(BaseSettings):
    """Cap of the audit log on failed attempts, so that an attacker cannot fill it."""

    history_failures_a_day: Count = Field(
        100,
        description="Cap on the failed attempts that the audit log records in 24 hours: for each account one cap for "
        "anonymous and one for signed-in clients, one for each service key, one for all unknown addresses together.",
    )


class RateLimitSettings(BaseSettings):
    """Rate limits of clients, users and addresses, global limits, and login throttling."""

    rate_limits: Literal["on", "off"] = Field(
        "on", description="`off` switches all rate limits and throttling off; `test` profile only."
    )
    limit_look_ups: RateLimit = Field(Rate("300/1m"), description="Look-ups by email address, for each client network.")
    limit_sign_ups: RateLimit = Field(Rate("120/1m,1000/1d"), description="Sign-ups, for each client network.")
    limit_guesses: RateLimit = Field(
        Rate("300/1m"),
        description="Confirmations of codes, finished registrations, account reverts and uses of invitation links, for "
        "each client network.",
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
    # The pauses double up to one day: an address gets about twenty failed attempts on the first day and one on each
    # later day. Together with the reserved attempts they stay below the limit of 100 (NIST SP 800-63B-4, 3.2.2).
    sign_in_free_attempts: int = Field(
        5,
        ge=1,
        le=64,
        description="Attempts at the password of an address before throttling begins; concurrent attempts count.",
    )
    sign_in_reserved_attempts: int = Field(
        50,
        ge=0,
        le=50,
        description="Attempts in 24 hours at the password of an address that is throttled: one for each client network "
        "that has not failed for it in 24 hours.",
    )
    limit_codes_a_day: Count = Field(
        10, description="Codes of all purposes in 24 hours, for each address; counted in PostgreSQL too."
    )
    limit_codes_reserved: int = Field(
        4,
        ge=0,
        le=1_000_000,
        description="How many of the codes of a day are reserved for networks that had none in 24 hours for the "
        "address; at least one code of a day is not reserved.",
    )
    limit_codes_per_network: RateLimit = Field(
        Rate("3/1h,4/1d"), description="Codes of all purposes, for each address and client network."
    )
    limit_codes_altogether: RateLimit = Field(
        Rate("20000/1h"), description="Codes of all clients together (global limit)."
    )
