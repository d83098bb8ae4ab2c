"""Request and response models of user administration."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.account import Language, UserId
from auth_service.api.v1.schemas.fields import Email, RequestModel
from auth_service.api.v1.schemas.pagination import DEFAULT_PAGE_SIZE, PageCursor, PageSize
from auth_service.api.v1.schemas.roles import RoleName
from auth_service.invisible_characters import without_zero_width
from auth_service.services.email.addresses import LONGEST

Status = Literal["active", "temporary", "banned", "leaving"]
SHORTEST_PREFIX = 3


def _prefix(value: Any) -> Any:
    """Normalise the beginning of an address as addresses are normalised."""
    if not isinstance(value, str):
        return value
    return unicodedata.normalize("NFKC", without_zero_width(value[: 2 * LONGEST])).casefold()


class CountUsersQuery(RequestModel):
    """Filters of the user search; a user has to match all of them."""

    email: Annotated[Email | None, Field(description="The exact address, in any spelling.")] = None
    query: Annotated[
        str | None,
        Field(
            min_length=SHORTEST_PREFIX,
            max_length=LONGEST,
            description="The beginning of the address, in any case. Every character is literal.",
        ),
        BeforeValidator(_prefix),
    ] = None
    status: Annotated[
        Status | None, Field(description="`leaving` finds nobody until accounts have a deletion grace period.")
    ] = None
    role: RoleName | None = None
    provider: Annotated[
        str | None,
        Field(
            pattern="^[a-z][a-z0-9_]{0,31}$",
            description="The name of an identity provider; finds nobody until the service has identity providers.",
        ),
    ] = None


class UsersQuery(CountUsersQuery):
    """Filters and page of the user search."""

    cursor: PageCursor | None = None
    limit: PageSize = DEFAULT_PAGE_SIZE


class FoundUserResponse(ResponseModel):
    """A user in the list."""

    id: UserId
    email: str
    status: Status
    roles: list[str]
    created_at: datetime


class UserCountResponse(ResponseModel):
    """How many users match."""

    count: Annotated[int, Field(ge=0, le=10_000)]
    complete: Annotated[bool, Field(description="False if more than 10,000 users match: counting stops there.")]


class SecondFactorResponse(ResponseModel):
    """The second factors of a user."""

    totp: bool
    passkeys: int
    recovery_codes_left: int


class BanResponse(ResponseModel):
    """A ban that is in force."""

    until: Annotated[datetime | None, Field(description="Null for a ban without end.")]
    reason: str
    at: datetime


class UserDetailsResponse(FoundUserResponse):
    """A user as administrators see it."""

    verified_mail: bool
    language: Language
    last_seen_at: Annotated[
        datetime | None,
        Field(description="The last sign-in or token refresh; null if no record of a session is left."),
    ]
    password_set: bool
    second_factor: SecondFactorResponse
    identities: Annotated[list[str], Field(description="Empty until the service has identity providers.")]
    sessions: Annotated[int, Field(ge=0, description="How many sessions are active.")]
    ban: BanResponse | None
    deletion_due_at: Annotated[datetime | None, Field(description="Null until accounts have a deletion grace period.")]
