"""Query plans of the audit log search: every search reads a few rows along an index, however long the log is."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from auth_service.db import db
from auth_service.services.audit.search import AuditFilters, Party, Position
from auth_service.services.caller import SYSTEM
from auth_service.wiring import Services
from tests.support.audit_rows import BUSY_SERVICE, DAYS, QUIET_SERVICE, fill, past_months
from tests.support.statements import statements
from tests.support.stores import Query

ROWS, PAGE = 200_000, 50
FAR_TOO_MANY = 4 * PAGE * 12
"""Rows that a search may read, for a page and its partitions: far fewer than one partition has."""

USER = Party("user", "4711")
SERVICE = Party("service", BUSY_SERVICE)


def ago(days: float) -> datetime:
    """A time in the past."""
    return datetime.now(UTC) - timedelta(days=days)


WHOLE = [
    AuditFilters(),
    AuditFilters(actor=USER),
    AuditFilters(target=USER),
    AuditFilters(actor=USER, target=USER),
    AuditFilters(actor=SERVICE),
    AuditFilters(actor=Party("service", QUIET_SERVICE)),
    AuditFilters(actor=Party("service", "000000000000")),
    AuditFilters(actor=Party("system", "auth-service")),
    AuditFilters(target=Party("role", "ROLE_NUMBER_3")),
    AuditFilters(target=Party("role", "ROLE_UNKNOWN")),
    AuditFilters(action="signed_in"),
    AuditFilters(action="role.changed"),
    AuditFilters(action="account_deleted"),
    AuditFilters(action="sign_in_refused", outcome="success"),
    AuditFilters(action="access_denied", outcome="failure"),
    AuditFilters(outcome="failure"),
    AuditFilters(outcome="success"),
    AuditFilters(actor=USER, action="signed_in"),
    AuditFilters(target=USER, outcome="failure"),
]
RANGES: list[dict[str, Any]] = [
    {"since": ago(0.05)},
    {"until": ago(20)},
    {"since": ago(80), "until": ago(79.99)},
    {"since": ago(40), "until": ago(35)},
]
BY_TIME = [filters for filters in WHOLE if not filters.is_by_party]
CASES = [*WHOLE, *(replace(filters, **limits) for filters in BY_TIME for limits in RANGES)]


@pytest.fixture
def long_log(app: Flask, query: Query) -> Iterator[None]:
    """An audit log of several months."""
    with past_months(query):
        fill(query, rows=ROWS)
        yield
        query("DELETE FROM events")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_au4_every_search_of_a_long_audit_log_reads_few_rows_along_an_index(
    app: Flask, long_log: None, query: Query
) -> None:
    services: Services = app.extensions["auth_service"]
    empty = {name for name, rows in query("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'") if rows <= 0}
    wrong = []
    for filters in CASES:
        with statements(app) as sent, app.app_context():
            page = services.audit_search.page(filters, caller=SYSTEM, cursor=None, limit=PAGE)
            services.audit_search.page(filters, caller=SYSTEM, cursor=page.next_cursor, limit=PAGE)
        for statement, values in sent:
            with app.app_context(), db.engine.connect() as connection:
                explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
                [tree] = connection.exec_driver_sql(explain, values).scalar_one()
            scans = [node for node in nodes(tree["Plan"]) if "Relation Name" in node]
            read = sum(
                (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"] for scan in scans
            )
            sequential = [
                scan["Relation Name"]
                for scan in scans
                if scan["Node Type"] == "Seq Scan" and scan["Relation Name"] not in empty
            ]
            if sequential or read > FAR_TOO_MANY:
                wrong.append((filters, read, sequential))
    assert not wrong, json.dumps([(str(filters), *rest) for filters, *rest in wrong], indent=1)


@pytest.mark.slow
def test_au4_a_time_range_reads_the_partitions_of_its_months_only(app: Flask, long_log: None) -> None:
    services: Services = app.extensions["auth_service"]
    begin = ago(DAYS / 2)
    filters = AuditFilters(since=begin, until=begin + timedelta(hours=1))
    with statements(app) as sent, app.app_context():
        found = services.audit_search.page(filters, caller=SYSTEM, cursor=None, limit=PAGE).items
        services.audit_search.records([Position(record.at, record.id) for record in found])
    assert len(found) == PAGE

    months = {f"events_{at:%Y_%m}" for at in (begin, begin + timedelta(hours=1))}
    for statement, values in sent:
        with app.app_context(), db.engine.connect() as connection:
            [tree] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
        partitions = {node["Relation Name"] for node in nodes(tree["Plan"]) if "Relation Name" in node}
        assert partitions <= {*months, "events_default"}
