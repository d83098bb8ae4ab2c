"""Audit log export: the events of a search as CSV or as JSON lines, as a stream of batches."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.audit.search import AuditFilters, AuditRecord, AuditSearch, Position
from auth_service.services.caller import Caller

MAX_ROWS = 10_000
"""Of one export; a cursor leads to the next one."""
BATCH = 500
"""Events that are in memory at one time."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""The first characters of a cell that a spreadsheet would run as a formula (CSV injection, CWE-1236)."""

COLUMNS = (
    "id",
    "at",
    "action",
    "outcome",
    "actor_type",
    "actor_id",
    "target_type",
    "target_id",
    "address",
    "device",
    "session_id",
    "request_id",
    "changes",
    "reason",
)


class ExportFormat(StrEnum):
    """The formats of an export, by media type."""

    CSV = "text/csv"
    NDJSON = "application/x-ndjson"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedEvents:
    """An export: its content in pieces that are read from the database when they are needed."""

    chunks: Iterator[bytes]
    next_cursor: str | None
    """Leads to the next export; None if this one ends with the oldest event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditExport:
    """Exports audit events.

    The positions of all events are read first. An export is therefore one state of the audit log, although it holds no
    connection and no transaction while a slow client reads it.
    """

    search: AuditSearch
    audit_log: AuditLog

    def export(
        self,
        filters: AuditFilters,
        *,
        export_format: ExportFormat,
        caller: Caller,
        client: ClientInfo,
        cursor: str | None,
    ) -> ExportedEvents:
        """Export at most MAX_ROWS events, the newest first, and record an audit event about it.

        Raises ValidationFailed for a cursor of another caller or of other filters.
        """
        page = self.search.positions(filters, caller=caller, cursor=cursor, limit=MAX_ROWS)
        self._record(filters, export_format, caller, client)
        return ExportedEvents(chunks=_rendered(self._batches(page.items), export_format), next_cursor=page.next_cursor)

    def export_all(
        self, filters: AuditFilters, *, export_format: ExportFormat, caller: Caller, client: ClientInfo
    ) -> Iterator[bytes]:
        """Export all events, the newest first, and record an audit event about it."""
        self._record(filters, export_format, caller, client)
        return _rendered(self._all_batches(filters, caller), export_format)

    def _record(self, filters: AuditFilters, export_format: ExportFormat, caller: Caller, client: ClientInfo) -> None:
        # The names of the filters only: their values may be ids of users, who can be deleted.
        used = sorted(name for name, value in asdict(filters).items() if value is not None)
        self.audit_log.record(
            EventType.AUDIT_EXPORTED,
            user_id=None,
            client=client,
            actor=caller,
            target=("audit", "events"),
            format=export_format.value,
            filters=used,
        )

    def _all_batches(self, filters: AuditFilters, caller: Caller) -> Iterator[list[AuditRecord]]:
        cursor: str | None = None
        while True:
            page = self.search.positions(filters, caller=caller, cursor=cursor, limit=MAX_ROWS)
            yield from self._batches(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _batches(self, positions: Sequence[Position]) -> Iterator[list[AuditRecord]]:
        for start in range(0, len(positions), BATCH):
            yield self.search.records(positions[start : start + BATCH])


def _rendered(batches: Iterator[list[AuditRecord]], export_format: ExportFormat) -> Iterator[bytes]:
    return _as_csv(batches) if export_format is ExportFormat.CSV else _as_lines(batches)


def _as_lines(batches: Iterable[list[AuditRecord]]) -> Iterator[bytes]:
    for records in batches:
        yield "".join(f"{json.dumps(_json(record), ensure_ascii=False)}\n" for record in records).encode()


def _json(record: AuditRecord) -> dict[str, Any]:
    """Return an event with the members that a page of events has, too."""
    return asdict(record) | {
        "at": _time(record.at),
        "session_id": None if record.session_id is None else str(record.session_id),
    }


def _as_csv(batches: Iterable[list[AuditRecord]]) -> Iterator[bytes]:
    yield _lines([COLUMNS])
    for records in batches:
        yield _lines(_cells(record) for record in records)


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    # Every cell is quoted: a program that separates cells at semicolons, too, would begin another one inside of a cell.
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def _cells(record: AuditRecord) -> list[str]:
    values = {
        **_json(record),
        "actor_type": record.actor.type,
        "actor_id": record.actor.id,
        "target_type": record.target.type,
        "target_id": record.target.id,
        "changes": json.dumps(record.changes, ensure_ascii=False) if record.changes else None,
    }
    return [_cell(values[column]) for column in COLUMNS]


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
