"""Settings of authorization: required second factors, the first administrator, rate limits of administration."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode

from auth_service.settings.types import Rate, RateLimit

NO_ROLE = "none"
"""The value of a list of roles that is empty: an empty value could be a mistake."""

PORTAL_ADMIN = "ROLE_PORTAL_ADMIN"


def _roles(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.strip() == NO_ROLE:
        return frozenset()
    names = [name.strip() for name in value.split(",")]
    for name in names:
        if not re.fullmatch(r"ROLE_[A-Z0-9_]{1,59}", name, re.ASCII):
            raise ValueError(f"{name!r} is not a role name such as ROLE_PORTAL_ADMIN")
    return frozenset(names)


def _one_address(value: str) -> str:
    if not re.fullmatch(r"[^\s@,;<>]+@[^\s@,;<>]+", value):
        raise ValueError("must be one email address, such as ops@example.org")
    return value


RoleNames = Annotated[frozenset[str], NoDecode, BeforeValidator(_roles)]


class AuthorizationSettings(BaseSettings):
    """Roles that require a second factor, the first administrator, and limits per caller."""

    second_factor_roles: RoleNames = Field(
        frozenset(),
        description="Roles (comma-separated) whose users need a second factor; without one their sessions are "
        "restricted to enrolling it. In production `ROLE_PORTAL_ADMIN` when unset; `none` for no role.",
    )
    first_administrator: Annotated[str, AfterValidator(_one_address)] | None = Field(
        None,
        description="Email address of the first administrator: while there is none, the user who proves control of "
        "this address becomes administrator.",
    )
    limit_reauthentications: RateLimit = Field(Rate("30/1m"), description="Reauthentications, for each user.")
    limit_admin_reads: RateLimit = Field(
        Rate("300/1m"), description="Administrative reads, for each user and each service key."
    )
    limit_admin_writes: RateLimit = Field(
        Rate("60/1m"), description="Administrative changes, for each user and each service key."
    )
    limit_audit_exports: RateLimit = Field(
        Rate("10/1h"), description="Exports of the audit log, for each user and each service key."
    )
