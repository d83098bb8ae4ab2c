"""Audit log search: pages of audit events for auditors, by actor, target, action, outcome and time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    any_,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from auth_service.db import autocommit
from auth_service.models import Event
from auth_service.models.audit_event import FAILURE, SUCCESS
from auth_service.services.audit.statements import ANONYMOUS_FAILURES
from auth_service.services.caller import Caller
from auth_service.services.pagination import Cursors, Page, filtered

LIST = "audit"
USER, ANONYMOUS = "user", "anonymous"


@dataclass(frozen=True, slots=True)
class Party:
    """An actor or a target: `user` and its id, `service` and its key, `role` and its name, and so on."""

    type: str
    id: str | None
    """None for an anonymous client, for an unknown address, and for a user who is deleted."""

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilters:
    """The filters of a search; all of them have to match."""

    actor: Party | None = None
    target: Party | None = None
    action: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """The first instant after the time range."""

    @property
    def is_by_party(self) -> bool:
        """Whether events of a few parties are searched, in the order of their ids, and not the time range."""
        return self.actor is not None or self.target is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRecord:
    """An audit event as auditors see it."""

    id: int
    at: datetime
    action: str
    outcome: str
    actor: Party
    target: Party
    address: str | None
    device: str
    session_id: Any
    request_id: str | None
    changes: dict[str, list[Any]]
    """The value of each changed field before and after."""
    reason: str | None


@dataclass(frozen=True, slots=True)
class Position:
    """The position of an event in a search."""

    at: datetime
    id: int


_RECORD = (
    Event.id,
    Event.at,
    Event.kind,
    Event.outcome,
    Event.user_id,
    Event.actor_type,
    Event.actor_id,
    Event.target_type,
    Event.target_id,
    func.host(Event.address).label("address"),
    Event.device,
    Event.session_id,
    Event.request_id,
    Event.details,
)
_POSITION = (Event.at, Event.id)
_ALONG_TYPES = (Event.kind, Event.outcome, Event.at, Event.id)
"""The columns of the index of event types."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditSearch:
    """Searches the audit log, the newest event first.

    Each search reads along an index and stops at the end of its page. Events of a party are ordered by id, all others
    by time and id, as their indexes are.
    """

    cursors: Cursors

    def page(self, filters: AuditFilters, *, caller: Caller, cursor: str | None, limit: int) -> Page[AuditRecord]:
        """Return a page of events. Raises ValidationFailed for a cursor of another caller or of other filters."""
        rows = self._read(_RECORD, filters, after=self._position(cursor, filters, caller), at_most=limit + 1)
        return self.cursors.page(
            [_record(row) for row in rows],
            limit=limit,
            of=_list(filters),
            owner=caller.subject,
            position=lambda record: (record.at.isoformat(), record.id),
        )

    def positions(self, filters: AuditFilters, *, caller: Caller, cursor: str | None, limit: int) -> Page[Position]:
        """Return the positions of the events of a page, for which `records` then reads batch after batch.

        Raises ValidationFailed for a cursor of another caller or of other filters.
        """
        rows = self._read(_POSITION, filters, after=self._position(cursor, filters, caller), at_most=limit + 1)
        return self.cursors.page(
            [Position(row.at, row.id) for row in rows],
            limit=limit,
            of=_list(filters),
            owner=caller.subject,
            position=lambda position: (position.at.isoformat(), position.id),
        )

    @staticmethod
    def records(positions: Sequence[Position]) -> list[AuditRecord]:
        """Return the events at these positions, in their order, without those that maintenance has dropped."""
        times = [position.at for position in positions]
        statement = select(*_RECORD).where(
            Event.id == any_(literal([position.id for position in positions], type_=ARRAY(BigInteger))),
            Event.at.between(min(times), max(times)),  # selects the partitions
        )
        with autocommit() as connection:
            found = {row.id: row for row in connection.execute(statement)}
        return [_record(found[position.id]) for position in positions if position.id in found]

    def _position(self, cursor: str | None, filters: AuditFilters, caller: Caller) -> Position | None:
        if cursor is None:
            return None
        at, event_id = self.cursors.position(cursor, of=_list(filters), owner=caller.subject)
        return Position(datetime.fromisoformat(at), event_id)

    @staticmethod
    def _read(
        columns: Sequence[Any], filters: AuditFilters, *, after: Position | None, at_most: int
    ) -> Sequence[Row[Any]]:
        with autocommit() as connection:
            return connection.execute(_search(columns, filters, after=after, at_most=at_most)).all()


def _list(filters: AuditFilters) -> str:
    values = {name: getattr(filters, name) for name in filters.__slots__}
    return filtered(LIST, **{name: None if value is None else str(value) for name, value in values.items()})


def _search(columns: Sequence[Any], filters: AuditFilters, *, after: Position | None, at_most: int) -> Select[Any]:
    """Build the statement of a search: one index scan for each range of an index, merged.

    It has the values of this search, which PostgreSQL plans for: a time range selects partitions, and the number of
    events of a party decides which index is used.
    """
    order = [Event.id.desc()] if filters.is_by_party else [Event.at.desc(), Event.id.desc()]
    scans = [
        select(*columns)
        .where(*conditions, *_times(filters, after))
        .order_by(*([key.desc() for key in _ALONG_TYPES] if _is_along_types(filters) else order))
        .limit(at_most)
        for conditions in _ranges(filters, after)
    ]
    if len(scans) == 1:
        return scans[0]
    merged = union_all(*(select(scan.subquery()) for scan in scans)).subquery()
    order = [merged.c.id.desc()] if filters.is_by_party else [merged.c.at.desc(), merged.c.id.desc()]
    return select(merged).order_by(*order).limit(at_most)


def _ranges(filters: AuditFilters, after: Position | None) -> list[list[ColumnElement[bool]]]:
    """Return the conditions of each range of an index that the filters need."""
    if _is_along_types(filters):
        outcomes = (SUCCESS, FAILURE) if filters.outcome is None else (filters.outcome,)
        return [_of_type(filters, outcome, after) for outcome in outcomes]
    conditions = _of_target(filters.target) if filters.target else []
    if filters.action is not None:
        conditions.append(Event.kind == filters.action)
    if filters.outcome is not None:
        conditions.append(Event.outcome == filters.outcome)
    if after is not None:
        conditions.append(Event.id < after.id if filters.is_by_party else tuple_(*_POSITION) < _tuple(after))
    actors = _of_actor(filters.actor) if filters.actor else [[]]
    return [[*conditions, *actor] for actor in actors]


def _is_along_types(filters: AuditFilters) -> bool:
    return filters.action is not None and not filters.is_by_party


def _of_type(filters: AuditFilters, outcome: str, after: Position | None) -> list[ColumnElement[bool]]:
    """Return the range of a type and an outcome, without an equality.

    Most types have one outcome only, which PostgreSQL does not know: with equalities it expects enough events of the
    other outcome among the newest ones, and reads the whole audit log in the order of time.
    """
    begin = literal(filters.since) if filters.since else literal_column("'-infinity'::timestamptz")
    end = literal(filters.until) if filters.until else literal_column("'infinity'::timestamptz")
    before = (literal(after.at), literal(after.id)) if after else (end, literal(0))
    kind = (literal(filters.action), literal(outcome))
    return [
        tuple_(*_ALONG_TYPES[:3]) >= tuple_(*kind, begin),
        tuple_(*_ALONG_TYPES) < tuple_(*kind, *before),
    ]


def _of_target(target: Party) -> list[ColumnElement[bool]]:
    if target.type == USER:
        return [Event.user_id == int(target.id or 0), Event.target_type.is_(None)]
    return [Event.target_type == target.type, Event.target_id == target.id]


def _of_actor(actor: Party) -> list[list[ColumnElement[bool]]]:
    """Return the ranges of the events of an actor: an event without an actor is one of its user, unless anonymous."""
    named: list[ColumnElement[bool]] = [Event.actor_type == actor.type, Event.actor_id == actor.id]
    if actor.type != USER:
        return [named]
    own = [Event.user_id == int(actor.id or 0), Event.actor_type.is_(None), Event.kind.not_in(ANONYMOUS_FAILURES)]
    return [named, own]


def _times(filters: AuditFilters, after: Position | None) -> list[ColumnElement[bool]]:
    """Return the time range, which selects the partitions; the comparison of tuples does not."""
    times: list[ColumnElement[bool]] = []
    if filters.since is not None:
        times.append(Event.at >= filters.since)
    if filters.until is not None:
        times.append(Event.at < filters.until)
    if after is not None and not filters.is_by_party:
        times.append(Event.at <= after.at)
    return times


def _tuple(position: Position) -> Any:
    return tuple_(literal(position.at), literal(position.id))


def _record(row: Row[Any]) -> AuditRecord:
    user = None if row.user_id is None else str(row.user_id)
    if row.actor_type is not None:
        actor = Party(row.actor_type, row.actor_id)
    elif row.kind in ANONYMOUS_FAILURES:
        actor = Party(ANONYMOUS, None)
    else:
        actor = Party(USER, user)
    return AuditRecord(
        id=row.id,
        at=row.at,
        action=row.kind,
        outcome=row.outcome,
        actor=actor,
        target=Party(USER, user) if row.target_type is None else Party(row.target_type, row.target_id),
        address=row.address,
        device=row.device,
        session_id=row.session_id,
        request_id=row.request_id,
        changes=row.details.get("changes", {}),
        reason=row.details.get("reason", row.details.get("refusal")),
    )
