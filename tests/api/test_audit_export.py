"""Audit log export: CSV and JSON lines as a stream, CSV injection, the next export, limits, the command."""

import csv
import io
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from werkzeug.test import TestResponse

from auth_service.cli.audit import audit
from auth_service.services.audit.export import COLUMNS, MAX_ROWS
from tests.support.administration import AdminClient, Administration
from tests.support.live import Live
from tests.support.service_client import made_key
from tests.support.stores import Query

CSV, NDJSON = "text/csv", "application/x-ndjson"
AUDIT = "/admin/audit"
MIB = 1024 * 1024


def export(client: AdminClient, media_type: str, path: str = AUDIT, **filters: str) -> TestResponse:
    """Request an export, which succeeds."""
    answer = client.call("GET", path, headers={"Accept": media_type}, query_string=filters or None)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == f"{media_type}; charset=utf-8"
    return answer


def cells(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file, by column."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def events(query: Query, number: int, *, kind: str = "signed_in", details: str = "{}") -> None:
    """Add events of one type."""
    query(
        "INSERT INTO events (at, kind, outcome, device, details)"
        " SELECT now() - number * interval '1 second', %s, 'success', number::text, %s"
        " FROM generate_series(1, %s) AS number",
        kind,
        details,
        number,
    )


def test_au4_json_lines_have_the_events_of_a_page(admin: AdminClient) -> None:
    page = admin.data("GET", AUDIT, query_string={"action": "role.granted"})
    answer = export(admin, NDJSON, action="role.granted")

    assert [json.loads(line) for line in answer.text.splitlines()] == page
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.ndjson"'
    assert "Accept" in answer.headers["Vary"]
    assert "Link" not in answer.headers


def test_au4_csv_has_the_events_of_a_page_in_columns(admin: AdminClient) -> None:
    [event] = admin.data("GET", AUDIT, query_string={"action": "role.granted"})
    answer = export(admin, CSV, action="role.granted")

    assert answer.text.startswith('"id","at","action",')
    assert answer.text.endswith("\r\n")
    [row] = cells(answer.text)
    assert list(row) == list(COLUMNS)
    assert row == {
        **{name: "" if event.get(name) is None else str(event.get(name)) for name in COLUMNS},
        "actor_type": event["actor"]["type"],
        "actor_id": event["actor"]["id"],
        "target_type": event["target"]["type"],
        "target_id": event["target"]["id"],
        "changes": json.dumps(event["changes"]),
    }


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_au4_a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe(
    admin: AdminClient, query: Query, first: str
) -> None:
    formula = f"{first}cmd|' /C calc'!A0;\"x\",\n=1+1"
    query(
        "INSERT INTO events (kind, outcome, device, details, target_type, target_id)"
        " VALUES ('role.changed', 'success', %s, %s, 'role', %s)",
        formula,
        json.dumps({"reason": formula}),
        formula,
    )

    [row] = cells(export(admin, CSV, action="role.changed").text)

    assert (row["device"], row["reason"], row["target_id"]) == (f"'{formula}",) * 3
    [line] = export(admin, NDJSON, action="role.changed").text.splitlines()
    assert json.loads(line)["device"] == formula


def test_au4_an_export_of_nothing_has_the_columns_only(admin: AdminClient) -> None:
    assert export(admin, CSV, action="data_exported").text == '"' + '","'.join(COLUMNS) + '"\r\n'
    assert export(admin, NDJSON, action="data_exported").text == ""


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/csv, application/json;q=0.5", CSV),
        ("application/x-ndjson, text/csv;q=0.9", NDJSON),
    ],
)
def test_the_accept_header_selects_the_format(admin: AdminClient, accept: str, media_type: str) -> None:
    answer = admin.call("GET", AUDIT, headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.content_type.partition(";")[0] == media_type
    assert "Accept" in answer.headers["Vary"]


@pytest.mark.slow
def test_au4_the_link_leads_to_the_next_ten_thousand_events(admin: AdminClient, query: Query) -> None:
    query("DELETE FROM events")
    events(query, MAX_ROWS + 2500)
    ids = [row[0] for row in query("SELECT id FROM events ORDER BY at DESC, id DESC")]

    first = export(admin, NDJSON, action="signed_in")
    link = first.headers["Link"]
    assert link.startswith("</api/v1/admin/audit?action=signed_in&cursor=")
    assert link.endswith('>; rel="next"')
    second = export(admin, NDJSON, link[1:].partition(">")[0].removeprefix("/api/v1"))

    lines = [json.loads(line)["id"] for line in (first.text + second.text).splitlines()]
    assert len(first.text.splitlines()) == MAX_ROWS
    assert lines == ids
    assert "Link" not in second.headers


def test_au4_an_export_has_the_events_of_its_beginning(admin: AdminClient, query: Query) -> None:
    """Events that are added while a client reads an export belong to the next one, not into the middle."""
    query("DELETE FROM events")
    events(query, 1200)
    answer = admin.stream("GET", AUDIT, headers={"Accept": NDJSON}, query_string={"action": "signed_in"})
    chunks = answer.iter_encoded()
    begin = next(chunks)
    events(query, 50)
    query("DELETE FROM events WHERE device = '1200'")  # as maintenance drops a partition

    lines = (begin + b"".join(chunks)).decode().splitlines()
    answer.close()

    assert [json.loads(line)["device"] for line in lines] == [str(number) for number in range(1, 1200)]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("media_type", [CSV, NDJSON])
def test_au4_a_large_export_needs_less_than_64_mib_of_memory(admin: AdminClient, query: Query, media_type: str) -> None:
    # As long as the permissions of a large role. Few objects, because tracemalloc makes each of them slow.
    events(query, MAX_ROWS, kind="role.changed", details=json.dumps({"reason": "x" * 8000}))
    tracemalloc.start()
    try:
        answer = admin.stream("GET", AUDIT, headers={"Accept": media_type}, query_string={"action": "role.changed"})
        size = sum(len(chunk) for chunk in answer.iter_encoded())
        answer.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size > 64 * MIB, "a smaller export would show nothing"
    assert peak < 64 * MIB


def test_lg2_an_export_is_an_event_without_the_values_of_its_filters(admin: AdminClient, query: Query) -> None:
    export(admin, CSV, actor="user:4711", outcome="success")

    [event] = admin.data("GET", AUDIT, query_string={"action": "audit.exported"})
    assert event["actor"] == {"type": "user", "id": str(admin.user_id)}
    assert event["target"] == {"type": "audit", "id": "events"}
    details = query("SELECT details FROM events WHERE kind = 'audit.exported'")
    assert details == [({"format": "text/csv", "filters": ["actor", "outcome"]},)]


def test_a_failed_export_is_no_event(admin: AdminClient, administration: Administration, query: Query) -> None:
    for headers, path, status in (
        ({"Accept": CSV}, f"{AUDIT}?limit=5", 422),
        ({"Accept": CSV}, f"{AUDIT}?cursor=x", 422),
    ):
        answer = admin.call("GET", path, headers=headers)
        assert (answer.status_code, answer.content_type) == (status, "application/json")
    stranger = administration.user("grace@example.org")
    assert stranger.error("GET", AUDIT, headers={"Accept": CSV}) == (403, "permission_missing")

    assert query("SELECT count(*) FROM events WHERE kind = 'audit.exported'") == [(0,)]


def test_a_caller_exports_ten_times_an_hour(admin: AdminClient, administration: Administration) -> None:
    service = administration.service("audit:read", name="auditor")
    for _ in range(10):
        export(admin, NDJSON, action="registered")

    assert admin.error("GET", AUDIT, headers={"Accept": CSV}) == (429, "too_many_requests")
    assert admin.call("GET", AUDIT).status_code == 200, "pages are limited separately"
    export(service, CSV)


@pytest.mark.slow
def test_au4_gunicorn_sends_an_export_in_chunks(app: Flask, live: Live, query: Query) -> None:
    key = made_key(app, "audit:read", name="auditor")
    query("DELETE FROM events")
    events(query, 2000)

    answer = live.request(
        "GET", "/api/v1/admin/audit?action=signed_in", f"Accept: {NDJSON}", f"Authorization: Bearer {key.value}"
    )

    assert answer.status == 200
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body.count(b'"action": "signed_in"') == 2000


# The command.


def run(app: Flask, *arguments: str) -> Any:
    """Run `manage.py audit`."""
    runner: FlaskCliRunner = app.test_cli_runner()
    return runner.invoke(audit, list(arguments))


@pytest.mark.clock
def test_the_command_exports_what_the_options_select(app: Flask, admin: AdminClient, query: Query) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    result = run(app, "export", "--actor", "system:auth-service", "--action", "role.granted", "--from", today)

    assert result.exit_code == 0, result.output
    [row] = cells(result.stdout_bytes.decode())
    assert (row["action"], row["target_id"]) == ("role.granted", str(admin.user_id))
    lines = run(app, "export", "--target", f"user:{admin.user_id}", "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["signed_in", "role.granted", "registered"]
    assert query("SELECT actor_type, details ->> 'format' FROM events WHERE kind = 'audit.exported' ORDER BY id") == [
        ("system", CSV),
        ("system", NDJSON),
    ]
    assert run(app, "export", "--to", today, "--format", "ndjson").stdout == ""


@pytest.mark.parametrize(
    "arguments", [("--actor", "4711"), ("--actor", "user:x"), ("--action", "odd"), ("--from", "yesterday")]
)
def test_the_command_refuses_invalid_options(app: Flask, arguments: tuple[str, str]) -> None:
    result = run(app, "export", *arguments)

    assert result.exit_code == 2
    assert arguments[0] in result.output


@pytest.mark.slow
def test_the_command_exports_more_than_ten_thousand_events(app: Flask, query: Query) -> None:
    events(query, MAX_ROWS + 10)

    assert len(run(app, "export", "--action", "signed_in", "--format", "ndjson").stdout.splitlines()) == MAX_ROWS + 10
    assert query("SELECT count(*) FROM events WHERE kind = 'audit.exported'") == [(1,)]
