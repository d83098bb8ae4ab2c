"""Target of an administrative operation: the locked user, with the checks against privilege escalation."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from auth_service.db import Statement, fetch_one, transaction
from auth_service.errors import BeyondYourOwn, NotToYourself, UserUnknown
from auth_service.models import PORTAL_ADMIN, User, UserRole
from auth_service.services.authorization.statements import LOCK_USER
from auth_service.services.caller import Caller, CallerType
from auth_service.services.sessions.statements import permissions_of
from auth_service.services.users.bans import Ban
from auth_service.services.users.statements import ById


class Target(NamedTuple):
    """The user whom an administrative operation concerns."""

    verified_mail: bool
    credential_version: int
    ban: Ban | None
    """The ban in force."""
    roles: Sequence[str]
    permissions: Sequence[str]
    now: datetime
    """By the clock of the database."""

    @property
    def is_administrator(self) -> bool:
        """Whether the user has every permission, also those that no role has yet."""
        return PORTAL_ADMIN in self.roles


def _target(
    verified_mail: bool,
    credential_version: int,
    is_banned: bool,
    until: datetime | None,
    reason: str | None,
    roles: Sequence[str] | None,
    permissions: Sequence[str] | None,
    now: datetime,
) -> Target:
    ban = Ban(until, reason or "") if is_banned else None
    return Target(verified_mail, credential_version, ban, roles or (), permissions or (), now)


_TARGET = Statement(
    select(
        User.verified_mail,
        User.credential_version,
        User.is_banned(),
        User.ban_ends_at(),
        User.ban_reason,
        select(func.array_agg(UserRole.role)).where(UserRole.user_id == User.id).scalar_subquery(),
        permissions_of(User.id),
        func.now(),
    ).where(User.id == bindparam("user_id")),
    parameters=ById,
    row=_target,
    prepared=False,
)


def check_target(user_id: int, *, caller: Caller) -> Target:
    """Return the user, if the caller may ban, reset or delete this user.

    A service key never has every permission, so that a leaked key cannot remove administrators. Raises NotToYourself,
    UserUnknown, BeyondYourOwn.
    """
    if caller.type is CallerType.USER and caller.id == str(user_id):
        raise NotToYourself
    target = fetch_one(_TARGET({"user_id": user_id}))
    if target is None:
        raise UserUnknown
    if target.is_administrator and not caller.is_administrator:
        raise BeyondYourOwn
    caller.require_all(target.permissions)
    return target


def lock_target(user_id: int, *, caller: Caller) -> Target:
    """Lock a user until this unit of work ends, and do the same as `check_target` with what is true then.

    The lock excludes sign-ins, grants and other changes of the user. An operation that can reduce the number of
    administrators calls `Administrators.lock` first.
    """
    # Two statements in one message: one that waits for the lock itself would read the roles as they were before.
    transaction().write(LOCK_USER({"user_id": user_id}))
    return check_target(user_id, caller=caller)
