"""History: the record of what happened to an account, for its owner and for those who investigate."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auth_service import clock
from auth_service.adapters.redis.rate_limiter import network_of
from auth_service.db import autocommit, transaction
from auth_service.models.audit_event import FAILURE, SUCCESS, EventType
from auth_service.services.audit.statements import ANONYMIZE_USER, INSERT_EVENT, INSERT_FAILURE, PAGE, NewEvent
from auth_service.services.pagination import Cursors, Page

DAY = timedelta(days=1)
NEWEST = 2**63 - 1

BY_STRANGERS = (EventType.SIGN_IN_REFUSED, EventType.RECOVERY_REFUSED)
"""What is refused to people who are not signed in: holding a user would take time that tells whether there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientInfo:
    """Where a request came from, as far as it can be told."""

    address: str
    """The client's address, found through trusted proxies."""
    device: str
    """The device in words for its owner, at most 256 characters."""

    @property
    def network(self) -> str:
        """Whom the client is counted as."""
        return network_of(self.address)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """An event as its owner sees it."""

    at: datetime
    kind: str
    outcome: str
    method: str | None
    device: str
    address: str | None
    session_id: uuid.UUID | None
    current: bool
    """Whether it is about the session that asks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditLog:
    """Writes events in the transaction of what they tell of."""

    failures_a_day: int
    cursors: Cursors

    def record(
        self,
        kind: str,
        *,
        user_id: int,
        client: ClientInfo,
        session_id: uuid.UUID | None = None,
        outcome: str = SUCCESS,
        **details: Any,
    ) -> None:
        """Write down that something happened; `kind` is one of `EventType`, else ValueError."""
        transaction().write(INSERT_EVENT(self._event(kind, user_id, client, session_id, outcome, details)))

    def record_failure(
        self, kind: str, *, user_id: int | None, client: ClientInfo, session_id: uuid.UUID | None = None, **details: Any
    ) -> None:
        """Write down that something was tried in vain, unless there is too much of that today already.

        Failures are capped apart, for each person and for all unknown addresses together: whoever fails a million times
        must not bury what matters, nor fill the disk. Of several at the same moment all may see room for one more, so
        the cap is exceeded by as many as there are requests at once, and not by more. Of somebody who was deleted at
        this moment nothing is written down; but what a stranger tries at that very moment may go on naming an id that
        nobody has any more.
        """
        now = clock.now()
        transaction().write(
            INSERT_FAILURE(
                {
                    **self._event(kind, user_id, client, session_id, FAILURE, details),
                    "held": 0 if kind in BY_STRANGERS else user_id or 0,
                    "user": user_id or 0,
                    "since": now - DAY,
                    "until": now + DAY,
                    "most": self.failures_a_day,
                }
            )
        )

    def page(
        self, *, user_id: int, session_id: uuid.UUID | None = None, cursor: str | None = None, limit: int
    ) -> Page[AuditEntry]:
        """A page of somebody's history, the newest first, as the session `session_id` sees it.

        Raises ValidationFailed for a cursor of anybody else.
        """
        before = NEWEST if cursor is None else self.cursors.position(cursor, of="history", user_id=user_id)
        with autocommit() as connection:
            rows = connection.execute(PAGE, {"owner": user_id, "before": before, "most": limit + 1}).all()
        page = self.cursors.page(rows, limit=limit, of="history", user_id=user_id, position=lambda row: row.id)
        entries = [
            AuditEntry(current=row.session_id is not None and row.session_id == session_id, **_without_id(row))
            for row in page.items
        ]
        return Page(items=entries, next_cursor=page.next_cursor)

    def anonymize_user(self, user_id: int) -> None:
        """Let the events of somebody say no more whose they were, and note that an account was deleted.

        For accounts that are gone: in the transaction that deletes the user, after that; while there is such a user
        the database refuses. What stays is what happened, when, and by which method.
        """
        transaction().write(ANONYMIZE_USER({"user": user_id}))
        transaction().write(
            INSERT_EVENT(
                {
                    "kind": EventType.ACCOUNT_DELETED.value,
                    "outcome": SUCCESS,
                    "user_id": None,
                    "session_id": None,
                    "seen_address": None,
                    "seen_device": "",
                    "details": "{}",
                }
            )
        )

    @staticmethod
    def _event(
        kind: str,
        user_id: int | None,
        client: ClientInfo,
        session_id: uuid.UUID | None,
        outcome: str,
        details: dict[str, Any],
    ) -> NewEvent:
        return {
            "kind": EventType(kind).value,
            "outcome": outcome,
            "user_id": user_id,
            "session_id": session_id,
            "seen_address": client.address,
            "seen_device": client.device,
            "details": json.dumps(details),
        }


def _without_id(row: Any) -> dict[str, Any]:
    names: Sequence[str] = row._fields
    return {name: value for name, value in zip(names, row, strict=True) if name != "id"}
