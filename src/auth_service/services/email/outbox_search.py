"""Outbox for administrators: list emails by state, without their contents, and retry one that waits."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import (
    ARRAY,
    DateTime,
    Integer,
    Text,
    Uuid,
    bindparam,
    case,
    func,
    lateral,
    select,
    true,
    tuple_,
    update,
)

from auth_service.db import Statement, fetch_all, fetch_one, transaction
from auth_service.errors import MailEnded, MailUnknown
from auth_service.models import OutboxMessage
from auth_service.models.audit_event import EventType
from auth_service.models.outbox_message import DEAD, EXPIRED, SENT, WAITING
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.caller import Caller
from auth_service.services.email.statements import IS_WAITING, OneMessage
from auth_service.services.pagination import Cursors, Page, filtered

STATES = (WAITING, SENT, EXPIRED, DEAD)
BEFORE_FIRST_PAGE = ("infinity", str(uuid.UUID(int=0)))


class ListedEmail(NamedTuple):
    """An email of the outbox without its content and its recipient."""

    id: uuid.UUID
    kind: str
    state: str
    attempts: int
    user_id: int | None
    created_at: datetime
    ended_at: datetime | None
    next_attempt_at: datetime | None
    """None once the email has ended."""
    reason: str | None
    """Why the last attempt failed."""


class _EmailPage(TypedDict):
    states: Sequence[str]
    created_at: str
    id: str
    at_most: int


_email: Sequence[Any] = (
    OutboxMessage.id,
    OutboxMessage.kind,
    OutboxMessage.state,
    OutboxMessage.attempts,
    OutboxMessage.user_id,
    OutboxMessage.created_at,
    OutboxMessage.ended_at,
    case((IS_WAITING, OutboxMessage.next_attempt_at)).label("next_attempt_at"),
    OutboxMessage.trouble.label("reason"),
)


def _page() -> Any:
    """Build the query for a page: the newest of each state along one index, and of these the newest."""
    states: Any = (
        func.unnest(bindparam("states", type_=ARRAY(Text))).table_valued("state", name="states").render_derived()
    )
    position = tuple_(
        bindparam("created_at", type_=DateTime(timezone=True)), bindparam("id", type_=Uuid(as_uuid=False))
    )
    at_most = bindparam("at_most", type_=Integer)
    newest = lateral(
        select(*_email)
        .where(OutboxMessage.state == states.c.state, tuple_(OutboxMessage.created_at, OutboxMessage.id) < position)
        .order_by(OutboxMessage.created_at.desc(), OutboxMessage.id.desc())
        .limit(at_most),
        name="newest",
    )
    return (
        select(newest)
        .select_from(states.join(newest, true()))
        .order_by(newest.c.created_at.desc(), newest.c.id.desc())
        .limit(at_most)
    )


_PAGE = Statement(_page(), parameters=_EmailPage, row=ListedEmail)
_BY_ID = Statement(
    select(OutboxMessage.id).where(OutboxMessage.id == bindparam("message_id", type_=OutboxMessage.id.type)),
    parameters=OneMessage,
    row=str,
)
_MAKE_DUE = Statement(
    update(OutboxMessage)
    .where(
        OutboxMessage.id == bindparam("message_id", type_=OutboxMessage.id.type),
        IS_WAITING,
        OutboxMessage.not_after > func.now(),
    )
    .values(next_attempt_at=func.least(OutboxMessage.next_attempt_at, func.now()))
    .returning(*_email),
    parameters=OneMessage,
    row=ListedEmail,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxSearch:
    """Shows administrators which emails wait or were not sent, and retries them."""

    audit_log: AuditLog
    cursors: Cursors

    def page(self, *, state: str | None, caller: Caller, cursor: str | None, limit: int) -> Page[ListedEmail]:
        """Return a page, newest first. Raises ValidationFailed for a cursor of another state or caller."""
        of = filtered("emails", state=state)
        position = BEFORE_FIRST_PAGE
        if cursor is not None:
            position = self.cursors.position(cursor, of=of, owner=caller.subject)
        created_at, message_id = position
        states = STATES if state is None else (state,)
        rows = fetch_all(
            _PAGE({"states": list(states), "created_at": created_at, "id": message_id, "at_most": limit + 1})
        )
        return self.cursors.page(
            rows,
            limit=limit,
            of=of,
            owner=caller.subject,
            position=lambda email: (email.created_at.isoformat(), str(email.id)),
        )

    def retry(self, message_id: uuid.UUID, *, caller: Caller, client: ClientInfo) -> ListedEmail:
        """Make a waiting email due now, so that a mail worker tries it at once; idempotent.

        Raises MailUnknown; MailEnded for an email that was sent, has expired or was rejected: its content is erased.
        """
        email = transaction().fetch_one(_MAKE_DUE({"message_id": message_id}))
        if email is None:
            raise MailUnknown if fetch_one(_BY_ID({"message_id": message_id})) is None else MailEnded
        self.audit_log.record(
            EventType.MAIL_RETRIED, user_id=None, client=client, actor=caller, target=("email", str(message_id))
        )
        return email
