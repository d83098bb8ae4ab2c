"""Session revocation: end sessions, each with an audit event, and delete records of ended sessions."""

import json
import uuid
from datetime import timedelta
from typing import Any, TypedDict

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Interval,
    bindparam,
    delete,
    func,
    literal,
    select,
    union_all,
    update,
)

from auth_service.db import Statement, transaction
from auth_service.models import Session
from auth_service.models.audit_event import SUCCESS, EventType
from auth_service.services.audit.events import ClientInfo
from auth_service.services.audit.statements import EventsOfSessions, audit_each_cte
from auth_service.services.caller import Caller

DAY = timedelta(days=1)


class Revocation(EventsOfSessions):
    """Parameters of every statement that `revocation` builds."""

    reason: str


class _RevokeAll(Revocation):
    user_id: int


class _RevokeBySession(_RevokeAll):
    session_id: uuid.UUID


class _DeleteEnded(TypedDict):
    older_than: timedelta
    at_most: int


def revocation(*which: ColumnElement[bool]) -> Any:
    """Build the statement that revokes active sessions and records an event about each; it returns their ids.

    The statement takes the parameters that `revocation_parameters` returns.
    """
    # Rows are locked in the order of their ids, so that two concurrent revocations cannot deadlock: an UPDATE alone
    # locks them in physical order, which refreshes change. FOR NO KEY UPDATE is the lock of the UPDATE itself and does
    # not conflict with the key-share locks of foreign keys.
    active = (
        select(Session.id)
        .where(*which, Session.ended_at.is_(None))
        .order_by(Session.id)
        .with_for_update(key_share=True)
        .cte("active")
    )
    ended = (
        update(Session)
        .where(Session.id == active.c.id)
        .values(ended_at=func.now(), end_reason=bindparam("reason"))
        .returning(Session.id, Session.user_id)
        .cte("ended")
    )
    return audit_each_cte(ended)


def revocation_parameters(
    reason: str,
    *,
    client: ClientInfo,
    kind: str = EventType.SESSION_ENDED,
    outcome: str = SUCCESS,
    actor: Caller | None = None,
) -> Revocation:
    """Return the parameters of a revocation: its reason and its events. `actor` is None for the user itself."""
    return {
        "reason": reason,
        "kind": EventType(kind).value,
        "outcome": outcome,
        "actor_type": actor.type.value if actor else None,
        "actor_id": actor.id if actor else None,
        **client.as_parameters(),
        "details": json.dumps({"reason": reason}),
    }


def _delete_ended() -> Any:
    long_ago = func.now() - func.greatest(bindparam("older_than", type_=Interval), literal(DAY))
    at_most = bindparam("at_most", type_=Integer)
    # Two ordered searches, each along its index: one condition with OR would read all old rows for every batch.
    ended = select(Session.id).where(Session.ended_at < long_ago).order_by(Session.ended_at)
    # A session that its client abandoned has no end time; it expires.
    abandoned = (
        select(Session.id).where(Session.ended_at.is_(None), Session.expires_at < long_ago).order_by(Session.expires_at)
    )
    batches = [
        select(each.limit(at_most).with_for_update(skip_locked=True).cte(name).c.id)
        for name, each in (("ended", ended), ("abandoned", abandoned))
    ]
    batch = union_all(*batches).limit(at_most).cte("batch")
    return delete(Session).where(Session.id == batch.c.id).returning(Session.id)


def _id(session_id: uuid.UUID) -> uuid.UUID:
    return session_id


_owned = Session.user_id == bindparam("user_id")
_this: BindParameter[uuid.UUID] = bindparam("session_id", type_=Session.id.type)
_REVOKE_ALL = Statement(revocation(_owned), parameters=_RevokeAll, row=_id)
_REVOKE_ONE = Statement(revocation(_owned, Session.id == _this), parameters=_RevokeBySession, row=_id)
_REVOKE_OTHERS = Statement(revocation(_owned, Session.id != _this), parameters=_RevokeBySession, row=_id)
_DELETE_ENDED = Statement(_delete_ended(), parameters=_DeleteEnded, row=_id, prepared=False)


def revoke_sessions(
    user_id: int,
    *,
    reason: str,
    client: ClientInfo,
    only: uuid.UUID | None = None,
    all_but: uuid.UUID | None = None,
    kind: str = EventType.SESSION_ENDED,
    outcome: str = SUCCESS,
    actor: Caller | None = None,
) -> list[uuid.UUID]:
    """Revoke the active sessions of a user and record an audit event for each, in one statement; return their ids.

    `only` restricts the revocation to one session, `all_but` excludes one. Of concurrent requests to revoke a session
    one revokes it and records the event; the others get an empty list. `actor` is None for the user itself.
    """
    parameters: _RevokeAll = {
        "user_id": user_id,
        **revocation_parameters(reason, client=client, kind=kind, outcome=outcome, actor=actor),
    }
    if only is not None:
        return transaction().fetch_all(_REVOKE_ONE({**parameters, "session_id": only}))
    if all_but is not None:
        return transaction().fetch_all(_REVOKE_OTHERS({**parameters, "session_id": all_but}))
    return transaction().fetch_all(_REVOKE_ALL(parameters))


def delete_ended_sessions(*, older_than: timedelta, at_most: int) -> int:
    """Delete at most `at_most` records of sessions that ended more than `older_than` ago; return how many.

    Records of the last day stay: they show that a new user has signed in before, so that the next sign-in on an unknown
    device causes a security notification.
    """
    return len(transaction().fetch_all(_DELETE_ENDED({"older_than": older_than, "at_most": at_most})))
