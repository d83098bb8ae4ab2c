"""Audit log: records security events, and pages through them for the user (login history)."""

import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from auth_service import clock
from auth_service.adapters.redis.rate_limiter import Limit, RateLimiter, network_of
from auth_service.db import autocommit, transaction
from auth_service.errors import ServiceBusy
from auth_service.models.audit_event import CHANGED_FIELDS, FAILURE, FAILURE_SLOTS, SUCCESS, EventType
from auth_service.services.audit.statements import (
    ANONYMIZE_USER,
    ANONYMOUS_FAILURES,
    INSERT_ANONYMOUS_FAILURE,
    INSERT_EVENT,
    INSERT_FAILURE,
    PAGE,
    ActorAndTarget,
    ClientParameters,
    NewEvent,
)
from auth_service.services.caller import Caller, CallerType
from auth_service.services.pagination import Cursors, Page

Changes = Mapping[str, Sequence[object]]
"""The value of each changed field before and after the change, as JSON values."""

DAY = timedelta(days=1)
NEWEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientInfo:
    """The IP address and the device of a request."""

    address: str | None
    """The IP address of the client, resolved through the trusted proxies; None for a command of the operator."""
    device: str
    """The device as users read it, such as "Firefox on Linux"; at most 256 characters."""
    device_token: str | None = field(default=None, repr=False)
    """The device token that the browser sent, which may prove a known device."""
    request_id: str | None = None
    """The `X-Request-Id` of the request, which the log lines of the request have too; None for a command."""

    @property
    def network(self) -> str:
        """The network that rate limits count the client by."""
        return network_of(self.address or "0.0.0.0")  # noqa: S104 - an address in a counter, not one to listen on

    def as_parameters(self) -> ClientParameters:
        """Return the parameters of a statement that records an audit event."""
        return {"seen_address": self.address, "seen_device": self.device, "request_id": self.request_id}


COMMAND_LINE = ClientInfo(address=None, device="manage.py")
"""The origin of a change by `manage.py`: there is no request."""

SERVICE = ClientInfo(address=None, device="")
"""The origin of a change by the service itself, at a time that a request has set before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """An audit event as the user sees it."""

    at: datetime
    kind: str
    outcome: str
    method: str | None
    by: str | None
    """`administrator`, `service` or `system` for what others did; None for the user."""
    device: str
    address: str | None
    """The device and the IP address of the user; not those of others."""
    session_id: uuid.UUID | None
    current: bool
    """Whether the event is about the session that sends the request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditLog:
    """Records audit events in the transaction of the change that they describe."""

    failures_a_day: int
    """How many failures are recorded in 24 hours: for each user those of anonymous clients and those of signed-in
    clients, for each service key, and for all unknown addresses together."""
    limiter: RateLimiter
    cursors: Cursors

    def record(
        self,
        kind: str,
        *,
        user_id: int | None,
        client: ClientInfo,
        session_id: uuid.UUID | None = None,
        outcome: str = SUCCESS,
        actor: Caller | None = None,
        target: tuple[str, str] | None = None,
        changes: Changes | None = None,
        reason: str | None = None,
        **details: Any,
    ) -> None:
        """Record an event about a user, or about another `target` (type, id); `actor` is None for the user itself.

        `changes` has the value of each changed field before and after. `reason` is what the actor gave as the reason;
        the user does not see it. Raises ValueError if `kind` is not an `EventType`, or for a field that is not in its
        `CHANGED_FIELDS`.
        """
        if changes:
            details["changes"] = _checked(kind, changes)
        if reason is not None:
            details["reason"] = reason
        transaction().write(
            INSERT_EVENT(
                {
                    **self._event(kind, user_id, client, session_id, outcome, details),
                    **_actor_and_target(actor, target),
                }
            )
        )

    def record_failure(
        self,
        kind: str,
        *,
        user_id: int,
        client: ClientInfo,
        session_id: uuid.UUID | None = None,
        target: tuple[str, str] | None = None,
        **details: Any,
    ) -> None:
        """Record a failed attempt of a signed-in client, unless the daily cap of the user is reached.

        An attacker with a million attempts must neither bury the other events nor fill the disk. Concurrent requests
        may each see that one more event fits, so they can exceed the cap, but only by their number. Nothing is recorded
        for a user who is deleted concurrently.
        """
        now = clock.now()
        transaction().write(
            INSERT_FAILURE(
                {
                    **self._event(kind, user_id, client, session_id, FAILURE, details),
                    **_actor_and_target(None, target),
                    "user": user_id,
                    "since": now - DAY,
                    "until": now + DAY,
                    "cap": self.failures_a_day,
                }
            )
        )

    def record_denied_service(
        self, service: Caller, *, client: ClientInfo, target: tuple[str, str], **details: Any
    ) -> None:
        """Record a denied request of a service, unless the daily cap of its key is reached; Redis counts it."""
        if self._is_below_cap(service.subject):
            self.record(
                EventType.ACCESS_DENIED,
                user_id=None,
                client=client,
                outcome=FAILURE,
                actor=service,
                target=target,
                **details,
            )

    def record_anonymous_failure(self, kind: str, *, user_id: int | None, client: ClientInfo, **details: Any) -> None:
        """Record a failed attempt of an anonymous client, unless the daily cap is reached; the work is the same.

        `user_id` is None for an unknown address. Redis counts the cap, for each user and for all unknown addresses
        together. Such an event may name a user who was deleted concurrently. Raises ValueError for other kinds.
        """
        if kind not in ANONYMOUS_FAILURES:
            raise ValueError(f"{kind} is not a failure of anonymous clients")
        event = self._event(kind, user_id, client, None, FAILURE, details)
        size = sum(len(event[name] or "") for name in ("kind", "seen_device", "request_id", "details"))
        transaction().write(
            INSERT_ANONYMOUS_FAILURE(
                {
                    **event,
                    "is_recorded": self._is_below_cap("" if user_id is None else f"{user_id}"),
                    "slot": secrets.randbelow(FAILURE_SLOTS),
                    "number": secrets.randbits(62),
                    "filling": "x" * size,
                }
            )
        )

    def _is_below_cap(self, subject: str) -> bool:
        limit = Limit(name="anonymous_failures", windows=[(self.failures_a_day, DAY)], subject=subject)
        try:
            return self.limiter.hit(limit).allowed
        except ServiceBusy:  # the answer to the failed attempt does not depend on the audit log
            return True

    def page(
        self, *, user_id: int, session_id: uuid.UUID | None = None, cursor: str | None = None, limit: int
    ) -> Page[AuditEntry]:
        """Return a page of the events of a user, newest first; `current` marks those of the session `session_id`.

        Raises ValidationFailed for a cursor of another user.
        """
        before = NEWEST if cursor is None else self.cursors.position(cursor, of="history", owner=user_id)
        with autocommit() as connection:
            rows = connection.execute(PAGE, {"owner": user_id, "before": before, "at_most": limit + 1}).all()
        page = self.cursors.page(rows, limit=limit, of="history", owner=user_id, position=lambda row: row.id)
        entries = [
            AuditEntry(current=row.session_id is not None and row.session_id == session_id, **_without_id(row))
            for row in page.items
        ]
        return Page(items=entries, next_cursor=page.next_cursor)

    def anonymize_user(
        self,
        user_id: int,
        *,
        actor: Caller | None = None,
        client: ClientInfo | None = None,
        reason: str | None = None,
    ) -> None:
        """Remove the user, IP addresses and devices from the events of a deleted user, and record the deletion.

        To be called in the transaction that deletes the user, after the DELETE: the database refuses it while the user
        exists. Kind, time, outcome and method of the events stay (GDPR erasure without losing the audit log). The event
        about the deletion does not name the user. It has the `actor`, unless that is the user itself, with its `reason`
        and the IP address and the device of `client`; otherwise only the request id.
        """
        transaction().write(ANONYMIZE_USER({"user": user_id}))
        is_own = actor is None or (actor.type is CallerType.USER and actor.id == str(user_id))
        request_id = None if client is None else client.request_id
        if request_id is not None and str(user_id) in request_id:  # the client may have chosen one
            request_id = None
        anonymous = ClientInfo(address=None, device="", request_id=request_id)
        self.record(
            EventType.ACCOUNT_DELETED,
            user_id=None,
            client=anonymous if is_own or client is None else client,
            actor=None if is_own else actor,
            reason=reason,
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
            **client.as_parameters(),
            "details": json.dumps(details),
        }


def _checked(kind: str, changes: Changes) -> Changes:
    if unknown := set(changes) - CHANGED_FIELDS.get(EventType(kind), frozenset()):
        raise ValueError(f"{kind} has no changes of {sorted(unknown)}: see CHANGED_FIELDS")
    if any(len(pair) != len(("before", "after")) for pair in changes.values()):
        raise ValueError("a change is a pair: the value before and the value after")
    return changes


def _actor_and_target(actor: Caller | None, target: tuple[str, str] | None) -> ActorAndTarget:
    target_type, target_id = target or (None, None)
    return {
        "actor_type": actor.type.value if actor else None,
        "actor_id": actor.id if actor else None,
        "target_type": target_type,
        "target_id": target_id,
    }


def _without_id(row: Any) -> dict[str, Any]:
    names: Sequence[str] = row._fields
    return {name: value for name, value in zip(names, row, strict=True) if name != "id"}
