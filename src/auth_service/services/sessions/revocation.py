"""Session revocation: ending sessions, each with an audit event, and removing their old records."""

import json
import uuid
from datetime import timedelta
from typing import Any, TypedDict

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Interval,
    and_,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)

from auth_service.db import Statement, transaction
from auth_service.models import Session
from auth_service.models.audit_event import SUCCESS, EventType
from auth_service.services.audit.events import ClientInfo
from auth_service.services.audit.statements import EventsOfSessions, audit_each_cte

DAY = timedelta(days=1)


class _End(EventsOfSessions):
    reason: str


class _OfUser(_End):
    user_id: int


class _OneOfUser(_OfUser):
    session_id: uuid.UUID


class _Old(TypedDict):
    older_than: timedelta
    at_most: int


def _end(*which: ColumnElement[bool]) -> Any:
    # An UPDATE alone locks its rows in an order that refreshes change, so that two of them could wait for each other.
    # Locked in one order they cannot deadlock. The lock is the one that the UPDATE takes, which does not conflict with
    # the key-share locks of foreign keys.
    living = (
        select(Session.id)
        .where(*which, Session.ended_at.is_(None))
        .order_by(Session.id)
        .with_for_update(key_share=True)
        .cte("living")
    )
    ended = (
        update(Session)
        .where(Session.id == living.c.id)
        .values(ended_at=func.now(), end_reason=bindparam("reason"))
        .returning(Session.id, Session.user_id)
        .cte("ended")
    )
    return audit_each_cte(ended)


def _delete_old() -> Any:
    long_ago = func.now() - func.greatest(bindparam("older_than", type_=Interval), literal(DAY))
    old = or_(
        Session.ended_at < long_ago,
        # A session that was not refreshed any more has not ended, but it has expired.
        and_(Session.ended_at.is_(None), Session.expires_at < long_ago),
    )
    at_most = bindparam("at_most", type_=Integer)
    some = select(Session.id).where(old).limit(at_most).with_for_update(skip_locked=True).cte("some")
    return delete(Session).where(Session.id == some.c.id).returning(Session.id)


def _id(session_id: uuid.UUID) -> uuid.UUID:
    return session_id


_owned = Session.user_id == bindparam("user_id")
_this: BindParameter[uuid.UUID] = bindparam("session_id", type_=Session.id.type)
_END_ALL = Statement(_end(_owned), parameters=_OfUser, row=_id)
_END_ONE = Statement(_end(_owned, Session.id == _this), parameters=_OneOfUser, row=_id)
_END_OTHERS = Statement(_end(_owned, Session.id != _this), parameters=_OneOfUser, row=_id)
_DELETE_OLD = Statement(_delete_old(), parameters=_Old, row=_id, prepared=False)


def revoke_sessions(
    user_id: int,
    *,
    reason: str,
    client: ClientInfo,
    only: uuid.UUID | None = None,
    all_but: uuid.UUID | None = None,
    kind: str = EventType.SESSION_ENDED,
    outcome: str = SUCCESS,
) -> list[uuid.UUID]:
    """End the live sessions of a user and record an event about each, in one statement; return their ids.

    `only` names one session, `all_but` the one that stays. Of concurrent requests to end a session one ends it.
    """
    about: _OfUser = {
        "user_id": user_id,
        "reason": reason,
        "kind": EventType(kind).value,
        "outcome": outcome,
        "seen_address": client.address,
        "seen_device": client.device,
        "details": json.dumps({"reason": reason}),
    }
    if only is not None:
        return transaction().fetch_all(_END_ONE({**about, "session_id": only}))
    if all_but is not None:
        return transaction().fetch_all(_END_OTHERS({**about, "session_id": all_but}))
    return transaction().fetch_all(_END_ALL(about))


def forget_ended(*, older_than: timedelta, at_most: int) -> int:
    """Delete some records of sessions that ended or expired long ago; return how many.

    Records of the last day stay: they tell that a user who has just registered has signed in before.
    """
    return len(transaction().fetch_all(_DELETE_OLD({"older_than": older_than, "at_most": at_most})))
