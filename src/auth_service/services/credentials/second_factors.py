"""Second factors of a user: which ones the account has, and when each was used."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import and_, bindparam, func, or_, select

from auth_service.db import Statement, fetch_one
from auth_service.models import DelayedReset, Passkey, RecoveryCode, SecondFactor, User, UserRole

TOTP, PASSKEY, RECOVERY_CODE = "totp", "passkey", "recovery_code"
METHODS = (TOTP, PASSKEY, RECOVERY_CODE)
"""The methods of a second step, in the order in which clients offer them."""

NEVER = datetime.min.replace(tzinfo=UTC)


class OfUser(TypedDict):
    """Parameters of a statement about the second factors of one user."""

    user_id: int


class Factors(NamedTuple):
    """The second factors of a user."""

    totp_since: datetime | None
    """None while TOTP is off."""
    totp_last_used_at: datetime | None
    recovery_codes_left: int
    recovery_codes_since: datetime | None
    recovery_code_last_used_at: datetime | None
    passkeys: int
    passkey_last_used_at: datetime | None
    reset_due_at: datetime | None
    """When a requested reset takes effect."""
    roles: Sequence[str] | None

    def has_role_of(self, roles: frozenset[str]) -> bool:
        """Whether the user has one of these roles."""
        return not roles.isdisjoint(self.roles or ())

    def methods(self) -> list[str]:
        """Return the methods of a second step that the user has, the one that was used last first."""
        used = {
            TOTP: (self.totp_since is not None, self.totp_last_used_at),
            PASSKEY: (self.passkeys > 0, self.passkey_last_used_at),
            RECOVERY_CODE: (self.recovery_codes_left > 0, self.recovery_code_last_used_at),
        }
        available = [method for method in METHODS if used[method][0]]
        last = max(available, key=lambda method: used[method][1] or NEVER, default=None)
        return sorted(available, key=lambda method: method != last)


def totp_is_on(user_id: Any) -> Any:
    """Build the condition that TOTP of a user, whose id is an SQL expression, is on."""
    return (
        select(SecondFactor.user_id).where(SecondFactor.user_id == user_id, SecondFactor.secret.is_not(None)).exists()
    )


def has_passkey(user_id: Any) -> Any:
    """Build the condition that a user, whose id is an SQL expression, has a passkey."""
    return select(Passkey.id).where(Passkey.user_id == user_id).exists()


def has_factor(user_id: Any) -> Any:
    """Build the condition that a user, whose id is an SQL expression, has TOTP or a passkey."""
    return or_(totp_is_on(user_id), has_passkey(user_id))


def _of_codes(column: Any) -> Any:
    return select(column).where(RecoveryCode.user_id == User.id).correlate(User).scalar_subquery()


def _of_passkeys(column: Any) -> Any:
    return select(column).where(Passkey.user_id == User.id).correlate(User).scalar_subquery()


recovery_codes_left = _of_codes(func.count().filter(RecoveryCode.used_at.is_(None)))
"""The number of recovery codes of a user that are not used, for statements about users."""

passkey_count = _of_passkeys(func.count())
"""The number of passkeys of a user, for statements about users."""

is_valid_reset = and_(
    DelayedReset.user_id == User.id,
    DelayedReset.credential_version == User.credential_version,
    DelayedReset.factor_version == User.factor_version,
)
"""The condition that neither credentials nor second factors of a user have changed since a reset was requested."""

_reset_due_at = select(DelayedReset.effective_at).where(is_valid_reset).correlate(User).scalar_subquery()
_roles = select(func.array_agg(UserRole.role)).where(UserRole.user_id == User.id).correlate(User).scalar_subquery()
_FACTORS = Statement(
    select(
        SecondFactor.confirmed_at,
        SecondFactor.last_used_at,
        recovery_codes_left,
        _of_codes(func.min(RecoveryCode.created_at)),
        _of_codes(func.max(RecoveryCode.used_at)),
        passkey_count,
        _of_passkeys(func.max(Passkey.last_used_at)),
        _reset_due_at,
        _roles,
    )
    .select_from(User)
    .outerjoin(SecondFactor, and_(SecondFactor.user_id == User.id, SecondFactor.secret.is_not(None)))
    .where(User.id == bindparam("user_id")),
    parameters=OfUser,
    row=Factors,
)


def factors_of(user_id: int) -> Factors | None:
    """Return the second factors of a user; None for a deleted user."""
    return fetch_one(_FACTORS({"user_id": user_id}))
