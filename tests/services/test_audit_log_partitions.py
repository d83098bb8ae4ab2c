"""Partitions of the audit log: created ahead, dropped after the retention, and a process killed in the middle."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from flask import Flask

from auth_service.db import unit_of_work
from auth_service.services.audit.events import ClientInfo
from auth_service.wiring import Services
from tests.support.application import MakeApp
from tests.support.maintenance import connected, run
from tests.support.statements import LOCK_WAITS
from tests.support.stores import Query, Stores

MANAGE = Path(__file__).parents[2] / "manage.py"
MONTHS = "SELECT relname FROM pg_class WHERE relname ~ '^events_[0-9]{4}_[0-9]{2}$' ORDER BY 1"
HERE = ClientInfo(address="203.0.113.7", device="a test")


def this_month(ahead: int = 0) -> str:
    """The name of the partition of this month, or of a later one."""
    now = datetime.now(UTC)
    months = now.year * 12 + now.month - 1 + ahead
    return f"events_{months // 12:04}_{months % 12 + 1:02}"


@pytest.fixture
def without_months(app: Flask, query: Query) -> Iterator[None]:
    """A database without partitions, as after months without maintenance; the partitions are restored at the end."""
    for (name,) in query(MONTHS):
        query(f"DROP TABLE {name}")
    yield
    query("DELETE FROM events")
    run(app)


def record_event(app: Flask, user_id: int = 1) -> None:
    """Record an audit event."""
    services: Services = app.extensions["auth_service"]
    with app.app_context(), unit_of_work():
        services.audit_log.record("signed_in", user_id=user_id, client=HERE)


@pytest.mark.clock
def test_partitions_are_created_ahead_and_rows_of_the_default_partition_are_moved_there(
    without_months: None, app: Flask, query: Query
) -> None:
    record_event(app)
    query(
        "INSERT INTO events (at, kind, outcome, device, details)"
        " VALUES ('2025-02-28 23:59:59.999999Z', 'x', 'success', '', '{}'),"
        "  ('2025-03-01 00:00:00Z', 'x', 'success', '', '{}')"
    )
    before = query("SELECT id, at, user_id, kind, address FROM events ORDER BY id")
    assert query("SELECT count(*) FROM events_default") == [(3,)]

    report = run(app)

    assert report.months_created == ["events_2025_02", "events_2025_03", *(this_month(ahead) for ahead in range(4))]
    assert query("SELECT id, at, user_id, kind, address FROM events ORDER BY id") == before[:1], (
        "partitions older than the retention are dropped"
    )
    assert report.months_dropped == ["events_2025_02", "events_2025_03"]
    assert query("SELECT tableoid::regclass::text FROM events") == [(this_month(),)]
    assert query("SELECT count(*) FROM events_default") == [(0,)]
    second_report = run(app)
    assert (second_report.months_created, second_report.months_dropped) == ([], [])


@pytest.mark.clock
def test_partitions_have_the_indexes_and_constraints_of_the_table(app: Flask, query: Query) -> None:
    run(app)
    for table in ("events", this_month(), this_month(3)):
        assert query("SELECT count(*) FROM pg_indexes WHERE tablename = %s", table) == [(8,)]
    with pytest.raises(psycopg2.errors.CheckViolation):
        query("INSERT INTO events (kind, outcome, device, details) VALUES ('x', 'odd', '', '{}')")
    constraints = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c' ORDER BY 1"
    assert query(constraints, this_month()) == query(constraints, "events")


@pytest.mark.clock
def test_partitions_older_than_the_retention_are_dropped_and_others_stay(
    make_app: MakeApp, app: Flask, query: Query
) -> None:
    run(app)
    now = datetime.now(UTC)
    retained: list[str] = []
    for months_ago in (1, 11, 14, 30):
        months = now.year * 12 + now.month - 1 - months_ago
        first, following = (f"{m // 12:04}-{m % 12 + 1:02}-01" for m in (months, months + 1))
        query(
            f"CREATE TABLE {this_month(-months_ago)} PARTITION OF events"
            f" FOR VALUES FROM ('{first} 00:00Z') TO ('{following} 00:00Z')"
        )
        retained += [this_month(-months_ago)] if months_ago < 12 else []

    assert run(app).months_dropped == [this_month(-30), this_month(-14)]
    assert set(retained) <= {name for (name,) in query(MONTHS)}
    # The shortest retention that the setting allows; a constraint in the database has the same minimum.
    # On the 31st the previous month ended thirty days ago.
    ended = [this_month(-1)] if now.day == 31 else []
    assert run(make_app(history_lifetime_seconds=30 * 86400)).months_dropped == [this_month(-11), *ended]
    query(f"DROP TABLE IF EXISTS {this_month(-1)}")


@pytest.mark.slow
def test_the_audit_log_is_written_and_read_while_partitions_are_created(
    without_months: None, app: Flask, query: Query
) -> None:
    query(
        "INSERT INTO events (user_id, kind, outcome, device, details)"
        " SELECT 2, 'signed_in', 'success', '', '{}' FROM generate_series(1, 50000)"
    )
    services: Services = app.extensions["auth_service"]
    stop = threading.Event()

    def write(_: int) -> int:
        written = 0
        while not stop.is_set():
            record_event(app)  # raises DatabaseUnavailable if a statement or lock timeout expires
            with app.app_context():
                assert services.audit_log.page(user_id=1, limit=1).items
            written += 1
        return written

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, number) for number in range(2)]
        try:
            time.sleep(0.2)
            report = run(app)
            time.sleep(0.2)
        finally:
            stop.set()
        written = sum(writer.result() for writer in writers)

    assert report.months_created == [this_month(ahead) for ahead in range(4)]
    assert query("SELECT user_id, count(*) FROM events GROUP BY 1 ORDER BY 1") == [(1, written), (2, 50000)]
    assert query("SELECT count(*) FROM events_default") == [(0,)]


def test_creating_a_partition_gives_up_a_lock_wait_and_tries_again(
    without_months: None, app: Flask, stores: Stores, query: Query
) -> None:
    blocker = connected(stores)
    blocker.cursor().execute("LOCK TABLE events_default IN ACCESS SHARE MODE")
    release = threading.Timer(1.5, blocker.rollback)
    release.start()
    maintenance_run = threading.Thread(target=run, args=[app])
    maintenance_run.start()
    while maintenance_run.is_alive():
        # Raises DatabaseUnavailable after a lock wait of a second; maintenance waits half a second at most.
        record_event(app)

    maintenance_run.join()
    release.join()
    blocker.close()
    assert query(MONTHS) == [(this_month(ahead),) for ahead in range(4)]


@pytest.mark.slow
def test_a_killed_maintenance_run_loses_no_event_and_leaves_no_lock(
    without_months: None, app: Flask, stores: Stores, query: Query, tmp_path: Path
) -> None:
    query(
        "INSERT INTO events (user_id, kind, outcome, device, details)"
        " SELECT number, 'signed_in', 'success', '', '{}' FROM generate_series(1, 20000) AS number"
    )
    # Another transaction reads the default partition, so that maintenance blocks right before it attaches a partition.
    blocker = connected(stores)
    blocker.cursor().execute("LOCK TABLE events_default IN ACCESS SHARE MODE")
    environment = {
        **os.environ,
        "APP_ENV": "test",
        "DATABASE_URL": stores.database_url,
        "REDIS_URL": stores.redis_url,
        "DATA_DIR": str(tmp_path / "data"),
    }
    process = subprocess.Popen([sys.executable, str(MANAGE), "maintenance"], env=environment, cwd=tmp_path)
    give_up_at = time.monotonic() + 60
    while query(LOCK_WAITS) != [(1,)]:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    blocker.rollback()
    blocker.close()
    give_up_at = time.monotonic() + 60  # until the server has ended the session
    advisory_locks = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    while query(advisory_locks) != [(0,)]:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)

    assert query("SELECT count(*), count(DISTINCT user_id) FROM events") == [(20000, 20000)]
    assert run(app).months_created == [this_month(ahead) for ahead in range(4)]
    assert query("SELECT count(*), count(DISTINCT user_id) FROM events") == [(20000, 20000)]
