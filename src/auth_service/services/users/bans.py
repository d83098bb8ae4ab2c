"""Bans of users: the ban in force, and the statements that impose, change and lift one."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import DateTime, Text, bindparam, case, func, literal_column, null, select, update

from auth_service.db import Statement, Write, fetch_one
from auth_service.models import User
from auth_service.services.users.statements import ById


class Ban(NamedTuple):
    """A ban that is in force."""

    until: datetime | None
    """None for a ban without end."""
    reason: str

    @property
    def until_text(self) -> str | None:
        """The end as JSON has it, in UTC; None for a ban without end."""
        return None if self.until is None else instant_text(self.until)


class NewBan(ById):
    """Parameters of a ban; `until` is None for a ban without end."""

    until: datetime | None
    reason: str


_WITHOUT_END: Any = literal_column("'infinity'::timestamptz")
_this_user = User.id == bindparam("user_id")

BAN = Statement(
    select(User.ban_ends_at(), User.ban_reason).where(_this_user, User.is_banned()),
    parameters=ById,
    row=Ban,
    prepared=False,
)
SET_BAN = Write(
    update(User)
    .where(_this_user)
    .values(
        banned_until=func.coalesce(bindparam("until", type_=DateTime(timezone=True)), _WITHOUT_END),
        # A ban that is changed began when it was imposed.
        banned_at=case((User.is_banned(), User.banned_at), else_=func.now()),
        ban_reason=bindparam("reason", type_=Text),
    ),
    parameters=NewBan,
    prepared=False,
)
LIFT_BAN = Write(
    update(User).where(_this_user).values(banned_until=null(), banned_at=null(), ban_reason=null()),
    parameters=ById,
    prepared=False,
)


def current_ban(user_id: int) -> Ban | None:
    """Return the ban of a user that is in force by the clock of the database, or None."""
    return fetch_one(BAN({"user_id": user_id}))


def instant_text(instant: datetime) -> str:
    """Return an instant in UTC, as response models write it."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
