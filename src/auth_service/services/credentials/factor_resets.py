"""Delayed resets of second factors: SQL statements, with their typed parameters and rows."""

import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Integer, Interval, bindparam, delete, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from auth_service.db import Statement, Write, transaction
from auth_service.models import DelayedReset, User
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import ClientInfo
from auth_service.services.audit.statements import ClientParameters, audit_cte
from auth_service.services.credentials.second_factors import OfUser, is_valid_reset

# Statements are built at import: building one costs about as much as running it.


class NewReset(OfUser):
    """Parameters of a new delayed reset."""

    id: uuid.UUID
    delay: timedelta
    cancel_digest: bytes
    credential_version: int
    factor_version: int


class CancelOfUser(OfUser, ClientParameters):
    """Parameters of the cancellation by a second factor."""


class CancelByLink(ClientParameters):
    """Parameters of the cancellation by the link of an email."""

    cancel_digest: bytes


class _Batch(TypedDict):
    at_most: int


class ResetStep(NamedTuple):
    """A delayed reset whose next step is due."""

    id: uuid.UUID
    is_valid: bool
    """Whether neither the credentials nor the second factors have changed since the request."""
    is_effective: bool
    """Whether the reset itself is due; otherwise the second email is."""


_HALF: Any = literal_column("0.5")


def _instant(value: datetime) -> datetime:
    return value


def _request() -> Any:
    """Insert a delayed reset, or replace one that is void, if the account is still the one that was verified."""
    parameters = {name: bindparam(name, type_=DelayedReset.__table__.c[name].type) for name in ("id", "cancel_digest")}
    delay = bindparam("delay", type_=Interval)
    values = {
        "user_id": User.id,
        "effective_at": func.now() + delay,
        "next_at": func.now() + _HALF * delay,
        "credential_version": User.credential_version,
        "factor_version": User.factor_version,
        **parameters,
    }
    owner = (
        select(*values.values())
        .where(
            User.id == bindparam("user_id"),
            User.credential_version == bindparam("credential_version"),
            User.factor_version == bindparam("factor_version"),
            ~User.is_banned(),
        )
        .with_for_update(read=True)
    )
    new = insert(DelayedReset).from_select(list(values), owner, include_defaults=False)
    return new.on_conflict_do_update(
        index_elements=[DelayedReset.user_id],
        set_={name: new.excluded[name] for name in values if name != "user_id"},
        where=or_(
            DelayedReset.credential_version != new.excluded.credential_version,
            DelayedReset.factor_version != new.excluded.factor_version,
        ),
    ).returning(DelayedReset.effective_at)


def _cancel(condition: Any) -> Any:
    cancelled = (
        delete(DelayedReset)
        .where(condition, select(User.id).where(is_valid_reset).exists())
        .returning(DelayedReset.user_id)
        .cte("cancelled")
    )
    event = audit_cte(EventType.SECOND_FACTOR_RESET_CANCELLED, about=cancelled)
    return select(cancelled.c.user_id).add_cte(event)


_of_user = DelayedReset.user_id == bindparam("user_id")
_is_due = DelayedReset.next_at <= func.now()

REQUEST = Statement(_request(), parameters=NewReset, row=_instant)
PENDING = Statement(
    select(DelayedReset.effective_at).join(User, is_valid_reset).where(_of_user), parameters=OfUser, row=_instant
)
_CANCEL_OF_USER = Write(_cancel(_of_user), parameters=CancelOfUser)
CANCEL_BY_LINK = Statement(
    _cancel(DelayedReset.cancel_digest == bindparam("cancel_digest", type_=DelayedReset.cancel_digest.type)),
    parameters=CancelByLink,
    row=int,
)
DUE = Statement(
    select(DelayedReset.user_id)
    .where(_is_due)
    .order_by(DelayedReset.next_at)
    .limit(bindparam("at_most", type_=Integer)),
    parameters=_Batch,
    row=int,
)
STEP = Statement(
    select(
        DelayedReset.id,
        select(User.id).where(is_valid_reset).exists(),
        DelayedReset.next_at == DelayedReset.effective_at,
    )
    .where(_of_user, _is_due)
    .with_for_update(),
    parameters=OfUser,
    row=ResetStep,
)
# If no mail worker ran in time, the user still has a quarter of the delay after the second email.
_quarter = _HALF * (DelayedReset.effective_at - DelayedReset.next_at)
_effective_at = func.greatest(DelayedReset.effective_at, func.now() + _quarter)
AFTER_SECOND_EMAIL = Statement(
    update(DelayedReset)
    .where(_of_user)
    .values(effective_at=_effective_at, next_at=_effective_at)
    .returning(DelayedReset.effective_at),
    parameters=OfUser,
    row=_instant,
)
DELETE_RESET = Write(delete(DelayedReset).where(_of_user), parameters=OfUser)


def cancel_reset(user_id: int, *, client: ClientInfo) -> None:
    """Cancel the delayed reset of a user who has just used a second factor, and record the event, if there is one."""
    transaction().write(_CANCEL_OF_USER({"user_id": user_id, **client.as_parameters()}))
