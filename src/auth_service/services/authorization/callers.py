"""Callers of earlier requests, with the permissions that they have now: users, service keys, commands."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select

from auth_service.db import Statement, fetch_one
from auth_service.models import PORTAL_ADMIN, User, UserRole
from auth_service.services.caller import SYSTEM, Caller, CallerType
from auth_service.services.sessions.statements import permissions_of
from auth_service.services.tokens.service_keys import ServiceKeys
from auth_service.services.users.statements import ById


def _caller(user_id: int, roles: Sequence[str] | None, permissions: Sequence[str] | None) -> Caller:
    return Caller(
        type=CallerType.USER,
        id=str(user_id),
        permissions=frozenset(permissions or ()),
        is_administrator=PORTAL_ADMIN in (roles or ()),
    )


_ACTIVE_USER = Statement(
    select(
        User.id,
        select(func.array_agg(UserRole.role)).where(UserRole.user_id == User.id).scalar_subquery(),
        permissions_of(User.id),
    ).where(User.id == bindparam("user_id"), User.verified_mail, ~User.is_banned()),
    parameters=ById,
    row=_caller,
    prepared=False,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrentCallers:
    """Finds out what the caller of an earlier request may do now."""

    service_keys: ServiceKeys

    def by_subject(self, subject: str) -> Caller | None:
        """Return the caller with this `subject`, with its permissions of now.

        None for a caller that cannot send requests any more: a deleted or banned user, a revoked or expired key.
        """
        kind, _, caller_id = subject.partition(":")
        if kind == CallerType.SYSTEM:
            return SYSTEM
        if kind == CallerType.USER:
            return fetch_one(_ACTIVE_USER({"user_id": int(caller_id)}))
        scopes = self.service_keys.live_scopes(caller_id)
        if scopes is None:
            return None
        return Caller(type=CallerType.SERVICE, id=caller_id, permissions=frozenset(scopes))
