"""Audit log endpoints for auditors: search, export as CSV or JSON lines, list of event types."""

from urllib.parse import urlencode

from flask import request
from flask_restx import Resource

from auth_service.api.contract.contract import Contract, Variant
from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.http.parsing import preferred_media_type
from auth_service.api.http.responses import Stream
from auth_service.api.security.authorization import caller, permission
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_READS, AUDIT_EXPORTS
from auth_service.api.v1.schemas.admin.audit import ActionResponse, AuditFilterQuery, AuditQuery, AuditRecordResponse
from auth_service.models.audit_event import EventType
from auth_service.models.permission import Permission
from auth_service.services.audit.export import MAX_ROWS, ExportFormat
from auth_service.services.audit.search import AuditRecord
from auth_service.services.pagination import Page

audit = Namespace("audit", description="The audit log, for auditors.")

SUFFIXES = {ExportFormat.CSV: "csv", ExportFormat.NDJSON: "ndjson"}


def export(_: Resource, query: AuditFilterQuery) -> Stream:
    """Export events in the format of the `Accept` header."""
    export_format = ExportFormat(preferred_media_type(*ExportFormat))
    exported = services().audit_export.export(
        query.filters(), export_format=export_format, caller=caller(), client=client_info(), cursor=query.cursor
    )
    link = {"Link": f'<{_next(exported.next_cursor)}>; rel="next"'} if exported.next_cursor else {}
    return Stream(
        content_type=f"{export_format}; charset=utf-8",
        chunks=exported.chunks,
        headers={
            "Content-Disposition": f'attachment; filename="audit.{SUFFIXES[export_format]}"',
            "Vary": "Accept",
            **link,
        },
    )


def _next(cursor: str) -> str:
    """Return the path and query string of the next export, relative to the host: a proxy may have another name."""
    return f"{request.path}?{urlencode({**request.args, 'cursor': cursor})}"


EXPORT = Contract(
    operation="export_audit_events",
    summary="Export audit events",
    access=permission(Permission.AUDIT_READ),
    query=AuditFilterQuery,
    streams=True,
    limits=[ADMIN_READS, AUDIT_EXPORTS],
)


@audit.route("/audit")
class Audit(Resource):
    """The audit log."""

    @audit.contract(
        operation="list_audit_events",
        summary="Search the audit log, the newest event first",
        description=(
            "All filters have to match; `from` is included, `to` is not. A `cursor` is valid with the same filters and "
            f"for the same caller. With `Accept: text/csv` or `application/x-ndjson` the answer is a file of at most "
            f'{MAX_ROWS:,} events instead, without `limit`; the header `Link` with `rel="next"` leads to the next '
            "one. An export is an audit event itself. In CSV, a cell that a spreadsheet would run as a formula begins "
            "with `'`."
        ),
        variant=Variant(media_types=list(ExportFormat), contract=EXPORT, view=export),
        access=permission(Permission.AUDIT_READ),
        query=AuditQuery,
        items=AuditRecordResponse,
        headers={"Vary": lambda _: "Accept"},
        limits=[ADMIN_READS],
    )
    def get(self, query: AuditQuery) -> Page[AuditRecord]:
        return services().audit_search.page(query.filters(), caller=caller(), cursor=query.cursor, limit=query.limit)


@audit.route("/audit/actions")
class Actions(Resource):
    """The types of audit events."""

    @audit.contract(
        operation="list_audit_actions",
        summary="List the types of audit events",
        access=permission(Permission.AUDIT_READ),
        items=ActionResponse,
        limits=[ADMIN_READS],
    )
    def get(self) -> Page[ActionResponse]:
        actions = sorted(EventType, key=lambda event_type: event_type.value)
        return Page(items=[ActionResponse(action=action.value, description=action.description) for action in actions])
