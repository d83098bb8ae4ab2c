"""Settings of second factors: trusted devices, delayed reset, the WebAuthn relying party, rate limits."""

import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

from auth_service.settings.hosts import is_host
from auth_service.settings.types import Origins, Rate, RateLimit, Seconds

LOCALHOST = "localhost"
"""The only host name without a certificate that browsers accept for passkeys."""


def _relying_party(value: str) -> str:
    name = value.lower()
    if not (is_host(name) and re.fullmatch(r"[a-z0-9.-]+", name, re.ASCII)):
        raise ValueError("must be a host name such as example.org, without scheme and port")
    return name


class SecondFactorSettings(BaseSettings):
    """Trusted devices, delayed reset, the relying party of passkeys, and limits per client network."""

    device_trust_seconds: Seconds = Field(
        timedelta(days=30),
        description="For this time a device that the user trusts needs no second step; 0 switches trusted devices off.",
    )
    second_factor_reset_seconds: Seconds = Field(
        timedelta(days=7),
        description="After this time a reset of the second factors that a user has requested takes effect; 0 switches "
        "such resets off. Never for `SECOND_FACTOR_ROLES`.",
    )
    webauthn_rp_id: Annotated[str, AfterValidator(_relying_party)] | None = Field(
        None,
        description="Relying party id of passkeys: the host of `PUBLIC_URL` or a parent domain of it. That host when "
        "unset, and `localhost` in `local` and `test`. Another value makes all existing passkeys useless.",
    )
    webauthn_origins: Origins = Field(
        (),
        description="Origins (comma-separated), besides `PUBLIC_URL`, whose pages may use passkeys of this service.",
    )
    limit_second_steps: RateLimit = Field(
        Rate("30/1m"), description="Second steps of sign-ins and codes of an enrolment, for each client network."
    )
    limit_passkey_challenges: RateLimit = Field(
        Rate("120/1m"), description="Challenges of passkeys, for each client network."
    )


def relying_party_problems(rp_id: str, *, public_url: str) -> list[str]:
    """Return the reason why pages of `public_url` cannot use passkeys of this relying party id, or an empty list.

    Browsers accept the host of the page or a parent domain of it that is no public suffix (WebAuthn Level 3, 5.1.3).
    """
    host = urlsplit(public_url).hostname or ""
    if rp_id == host or (host.endswith(f".{rp_id}") and "." in rp_id):
        return []
    return [f"WEBAUTHN_RP_ID: must be {host}, the host of PUBLIC_URL, or a parent domain of it that contains a dot"]
