"""Removal of second factors: all of a user, or those that were added since an instant (account takeover)."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, bindparam, delete, or_

from auth_service.db import Write, transaction
from auth_service.models import Passkey, RecoveryCode, SecondFactor
from auth_service.services.credentials.second_factors import OfUser


class _Since(OfUser):
    since: datetime | None


_since: Any = bindparam("since", type_=DateTime(timezone=True))


def _deletion(model: Any, is_newer: ColumnElement[bool]) -> Write[_Since]:
    of_user = model.user_id == bindparam("user_id")
    return Write(delete(model).where(of_user, or_(_since.is_(None), is_newer)), parameters=_Since)


_DELETIONS = (
    # A row without TOTP has a pending enrolment only.
    _deletion(SecondFactor, or_(SecondFactor.confirmed_at.is_(None), SecondFactor.confirmed_at >= _since)),
    _deletion(RecoveryCode, RecoveryCode.created_at >= _since),
    _deletion(Passkey, Passkey.created_at >= _since),
)


def remove_factors(user_id: int, *, since: datetime | None = None) -> None:
    """Delete TOTP, recovery codes and passkeys of a user; only what was added at `since` or later, if it is given.

    The caller has locked the user, and marks the change with `next_factor_version`.
    """
    for deletion in _DELETIONS:
        transaction().write(deletion({"user_id": user_id, "since": since}))
