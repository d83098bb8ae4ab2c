"""Mass revocation: ends the sessions of all users, in batches, with an audit event for each session."""

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, DateTime, Integer, Select, Uuid, bindparam, func, select, tuple_

from auth_service.db import Statement, autocommit, transaction, unit_of_work
from auth_service.models import Event, Session
from auth_service.services.audit.events import COMMAND_LINE
from auth_service.services.caller import SYSTEM
from auth_service.services.sessions.revocation import Revocation, revocation, revocation_parameters

BATCH = 500
"""Sessions of one transaction: few enough for the time limit of a statement, however many sessions there are."""

REASON = "revoked_by_operator"


class _RevokeListed(Revocation):
    ids: list[uuid.UUID]


def _session_and_user(session_id: uuid.UUID, user_id: int) -> tuple[uuid.UUID, int]:
    return session_id, user_id


_listed: Any = bindparam("ids", type_=ARRAY(Uuid))
_REVOKE_LISTED = Statement(
    revocation(Session.id == func.any(_listed)).returning(Event.user_id),
    parameters=_RevokeListed,
    row=_session_and_user,
    prepared=False,
)

_position = tuple_(Session.expires_at, Session.id)
# Along the partial index of sessions without an end. A position, because expired sessions stay in that index.
_FIRST: Select[uuid.UUID, datetime] = (
    select(Session.id, Session.expires_at)
    .where(Session.is_live(), Session.opened_at <= bindparam("opened_until", type_=DateTime(timezone=True)))
    .order_by(Session.expires_at, Session.id)
    .limit(bindparam("at_most", type_=Integer))
)
_NEXT = _FIRST.where(
    _position > tuple_(bindparam("expires_at", type_=DateTime(timezone=True)), bindparam("session", type_=Uuid()))
)


def revoke_all_sessions(*, at_most: int = BATCH) -> Iterator[list[tuple[uuid.UUID, int]]]:
    """Revoke all sessions that are active now; yield the ids of the sessions and users of each committed batch.

    Idempotent: after an error run it again, and it revokes the others. Sessions that are opened meanwhile stay active,
    so that it ends. Raises DatabaseUnavailable and ServiceBusy.
    """
    with autocommit() as connection:
        position: dict[str, Any] = {"opened_until": connection.execute(select(func.now())).scalar_one()}
    statement = _FIRST
    while True:
        with autocommit() as connection:
            active = connection.execute(statement, {**position, "at_most": at_most}).all()
        if not active:
            return
        statement = _NEXT
        position |= {"expires_at": active[-1].expires_at, "session": active[-1].id}
        with unit_of_work():
            revoked = _revoke([row.id for row in active])
        yield revoked


def _revoke(ids: list[uuid.UUID]) -> list[tuple[uuid.UUID, int]]:
    parameters: _RevokeListed = {
        "ids": ids,
        **revocation_parameters(REASON, client=COMMAND_LINE, actor=SYSTEM),
    }
    return transaction().fetch_all(_REVOKE_LISTED(parameters))
