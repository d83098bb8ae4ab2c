"""Cost of probes, metrics and the mail queue: bounded, however many emails the outbox has and in which states."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from auth_service.api.http import metrics
from auth_service.db import db, unit_of_work
from auth_service.services.email.statements import COUNTED, OLDEST
from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.application import MakeApp
from tests.support.statements import plan_of, statements
from tests.support.stores import Query

ROWS = 30_000
"""So many that PostgreSQL plans as for millions: an index of a few rows is cheaper than the table."""

STATES = {
    "sent": "'sent', NULL, now() - n * interval '1 second', now() + interval '10 minutes', now()",
    "dead": "'dead', NULL, now() - n * interval '1 second', now() + interval '10 minutes', now()",
    "waiting": "'waiting', 'x', NULL, now() + interval '10 minutes', now() - n * interval '1 millisecond'",
    "expired and not ended yet": "'waiting', 'x', NULL, now() - interval '1 hour', now() - interval '2 hours'",
}


def fill(query: Query, rows: str) -> None:
    """Add emails."""
    query(
        "INSERT INTO letters (id, dedup_key, kind, recipient, recipient_key, language,"
        " state, payload, ended_at, not_after, next_attempt_at)"
        f" SELECT gen_random_uuid(), n, 'sign_in_code', 'x', n % 1000, 'en', {rows} FROM generate_series(1, {ROWS}) n"
    )
    query("ANALYZE letters")


@pytest.fixture
def probe_statements(app: Flask) -> Callable[[], list[tuple[str, Any]]]:
    """The statements of a readiness probe, a scrape of the metrics and an idle round of the mail worker."""
    services: Services = app.extensions["auth_service"]

    def sent() -> list[tuple[str, Any]]:
        with statements(app) as sent:
            app.test_client().get("/health/ready")
            list(metrics.OutboxCollector(app).collect())
            with app.app_context():
                services.delivery.release(services.delivery.claim(at_most=16))
                with unit_of_work():
                    # Few: at this size of the table a scan is the cheaper way to update many rows.
                    services.delivery.queue.expire_due(at_most=16)
        return [
            (text, values)
            for text, values in sent
            if text.startswith("EXECUTE") or ("letters" in text and not text.startswith("PREPARE"))
        ]

    return sent


def rows_read(app: Flask, statement: str, values: Any) -> int:
    """The largest number of rows that one node of the plan reads."""
    with app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        [tree] = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).scalar_one()
        connection.exec_driver_sql("ROLLBACK")

    def nodes(node: dict[str, Any]) -> Iterator[int]:
        yield (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for child in node.get("Plans", ()):
            yield from nodes(child)

    return int(max(nodes(json.loads(json.dumps(tree))["Plan"])))


@pytest.mark.parametrize("state", STATES)
def test_no_probe_reads_more_rows_when_the_table_grows(
    state: str, app: Flask, query: Query, probe_statements: Callable[[], list[tuple[str, Any]]]
) -> None:
    probe_statements()  # prepares the statements and their connection
    fill(query, STATES[state])

    sent = probe_statements()

    assert len(sent) >= 5
    for text, values in sent:
        assert rows_read(app, text, values) <= max(COUNTED, OLDEST), text


def test_the_backlog_counts_up_to_a_bound(app: Flask, services: Services, query: Query) -> None:
    fill(query, STATES["waiting"])

    with app.app_context():
        backlog = services.outbox.backlog()

    assert (backlog.waiting, backlog.dead) == (COUNTED, 0)
    assert 0 < backlog.oldest.total_seconds() < 600


def test_expired_emails_are_ended_in_batches_however_many_there_are(
    app: Flask, services: Services, query: Query
) -> None:
    fill(query, STATES["expired and not ended yet"])
    assert app.test_client().get("/health/ready").status_code == 503, "no mail worker ends them"

    with app.app_context():
        for _ in range(20):
            services.delivery.expire_due()

    assert query("SELECT DISTINCT state FROM letters") == [("expired",)]
    assert app.test_client().get("/health/ready").status_code == 200


def test_a_few_expired_emails_do_not_make_the_service_unready(app: Flask, query: Query) -> None:
    api = ApiClient(app)
    api.ask_for_code(api.sign_up(ADA))
    query("UPDATE letters SET not_after = now() - interval '1 minute', next_attempt_at = now() - interval '11 minutes'")

    assert app.test_client().get("/health/ready").status_code == 200


def test_maintenance_reads_its_rows_along_indexes(make_app: MakeApp, mailbox: Mailbox, query: Query) -> None:
    app = make_app()
    ApiClient(app).register(ADA, mailbox, password=PASSWORD)
    fill(query, STATES["sent"])
    services: Services = app.extensions["auth_service"]
    with statements(app) as sent, app.app_context():
        services.maintenance.run()

    deletions = [(text, values) for text, values in sent if "DELETE FROM letters" in text]
    assert deletions
    for text, values in deletions:
        assert ("Seq Scan", "letters") not in plan_of(app, text, values), text
