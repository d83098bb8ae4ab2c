"""User search of administrators: list and count users by filters, show one user."""

import re
from dataclasses import dataclass

from auth_service.db import fetch_one, transaction
from auth_service.errors import UserUnknown
from auth_service.models import TEMPORARY_USER
from auth_service.models.user import HIGHEST_ID, UserStatus
from auth_service.services.caller import Caller
from auth_service.services.pagination import Cursors, Page, filtered
from auth_service.services.users.search_statements import (
    BEFORE_FIRST_PAGE,
    COUNT,
    COUNT_OF_ROLE,
    DETAILS,
    INDEXES_ONLY,
    PAGE,
    PAGE_OF_ROLE,
    FoundUser,
    UserDetails,
    UserPage,
)

COUNTED = 10_000
"""Up to how many users are counted: the cost of a count must not grow with the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserFilters:
    """Filters of the user search; None does not restrict it. A user has to match all of them."""

    email_key: str | None = None
    """The normalised address."""
    prefix: str | None = None
    """The beginning of the normalised address."""
    status: str | None = None
    """A `UserStatus`."""
    role: str | None = None
    provider: str | None = None
    """The name of an identity provider. No user has an identity yet."""

    @property
    def match_nobody(self) -> bool:
        """Whether no user can match, so that no query is needed.

        No user has an identity or a deletion grace period yet. Temporary users have `ROLE_TEMPORARY_USER` and no other
        role, and lose it when they confirm the address: a query would read all users of one to find none of the other.
        """
        if self.provider is not None or self.status == UserStatus.LEAVING:
            return True
        if self.status == UserStatus.TEMPORARY:
            return self.role not in (None, TEMPORARY_USER)
        return self.status == UserStatus.ACTIVE and self.role == TEMPORARY_USER

    def parameters(self, *, after: tuple[str, int], at_most: int) -> UserPage:
        """Return the parameters of the statements, for the users after a position."""
        created_at, user_id = after
        return {
            "email_key": self.email_key,
            "key_pattern": _pattern(self.prefix),
            "status": self.status,
            "created_at": created_at,
            "id": user_id,
            "at_most": at_most,
        }

    @property
    def list_name(self) -> str:
        """The name of the filtered list, for cursors."""
        return filtered(
            "users",
            email=self.email_key,
            query=self.prefix,
            status=self.status,
            role=self.role,
            provider=self.provider,
        )


@dataclass(frozen=True, slots=True)
class UserCount:
    """How many users match; `complete` is False if counting stopped at `COUNTED`."""

    count: int
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class UserSearch:
    """Finds users for administrators. Pages are stable while users are created and deleted (keyset pagination)."""

    cursors: Cursors

    def page(self, filters: UserFilters, *, caller: Caller, cursor: str | None, limit: int) -> Page[FoundUser]:
        """Return a page of the users that match, newest first.

        Raises ValidationFailed for a cursor of another caller or of other filters.
        """
        position = BEFORE_FIRST_PAGE
        if cursor is not None:
            position = self.cursors.position(cursor, of=filters.list_name, owner=caller.subject)
        return self.cursors.page(
            _users(filters, filters.parameters(after=position, at_most=limit + 1)),
            limit=limit,
            of=filters.list_name,
            owner=caller.subject,
            position=lambda user: (user.created_at.isoformat(), user.id),
        )

    def count(self, filters: UserFilters) -> UserCount:
        """Count the users that match, up to `COUNTED`."""
        found = _number(filters, filters.parameters(after=BEFORE_FIRST_PAGE, at_most=COUNTED + 1))
        return UserCount(min(found, COUNTED), complete=found <= COUNTED)

    def details(self, user_id: int) -> UserDetails:
        """Return one user as administrators see it. Raises UserUnknown."""
        user = fetch_one(DETAILS({"user_id": user_id})) if 0 < user_id <= HIGHEST_ID else None
        if user is None:
            raise UserUnknown
        return user


def _users(filters: UserFilters, page: UserPage) -> list[FoundUser]:
    if filters.match_nobody:
        return []
    transaction().write(INDEXES_ONLY({}))
    if filters.role is None:
        return transaction().fetch_all(PAGE(page))
    return transaction().fetch_all(PAGE_OF_ROLE({**page, "role": filters.role}))


def _number(filters: UserFilters, count: UserPage) -> int:
    if filters.match_nobody:
        return 0
    transaction().write(INDEXES_ONLY({}))
    if filters.role is None:
        return transaction().fetch_one(COUNT(count)) or 0
    return transaction().fetch_one(COUNT_OF_ROLE({**count, "role": filters.role})) or 0


def _pattern(prefix: str | None) -> str | None:
    r"""Return the pattern of LIKE for texts with this beginning: `\`, `%` and `_` of the client are literal."""
    return None if prefix is None else re.sub(r"([\\%_])", r"\\\1", prefix) + "%"
