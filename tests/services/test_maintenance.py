"""Maintenance: retention of all tables but the audit log, and concurrent runs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from auth_service.cli.maintenance import SUCCEEDED_AT, MaintenanceThread
from auth_service.cli.maintenance import maintenance as command
from auth_service.db.advisory_locks import Lock
from auth_service.services import maintenance as module
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.application import MakeApp
from tests.support.maintenance import connected, run
from tests.support.statements import plan_of, statements
from tests.support.stores import Query, Stores


def insert_expired(app: Flask, query: Query, *, count: int) -> None:
    """Insert expired rows: this many temporary users, email records, sessions, account revert links and invitations."""
    query(
        "INSERT INTO users (id, email, email_key, verified_mail, verified_at, language, created_at)"
        " SELECT number, number || '@x.org', number || '@x.org', number %% 2 = 0,"
        "  CASE number %% 2 WHEN 0 THEN now() END, 'en', now() - interval '60 days'"
        " FROM generate_series(1, %s) AS number",
        2 * count,
    )
    query(
        "INSERT INTO letters (id, dedup_key, kind, user_id, recipient, recipient_key, language, state, not_after,"
        "  created_at, ended_at)"
        " SELECT gen_random_uuid(), id::text, 'registration_code', id, email, email_key, 'en', 'sent', now(),"
        "  created_at, created_at FROM users WHERE verified_mail"
    )
    query(
        "INSERT INTO sessions (id, user_id, counter, method, transport, device, address, idle_at, expires_at, ended_at,"
        "  end_reason)"
        " SELECT gen_random_uuid(), id, 0, 'code', 'bearer', '', '203.0.113.7', created_at, created_at,"
        "  CASE id %% 4 WHEN 0 THEN created_at END, CASE id %% 4 WHEN 0 THEN 'signed_out' END"
        " FROM users WHERE verified_mail".replace("%%", "%")
    )
    query(
        "INSERT INTO undos (digest, kind, user_id, expires_at)"
        " SELECT decode(md5(id::text), 'hex'), 'new_device', id, created_at FROM users WHERE verified_mail"
    )
    query(
        "INSERT INTO invitations (id, email, email_key, language, roles, digest, invited_by, expires_at, accepted_at,"
        "  revoked_at, user_id)"
        " SELECT gen_random_uuid(), email, email_key, 'en', '{}', sha256(email::bytea), 'user:1',"
        "  created_at + interval '7 days', CASE kind WHEN 0 THEN created_at END, CASE kind WHEN 1 THEN created_at END,"
        "  CASE kind WHEN 0 THEN id END FROM (SELECT *, id / 2 % 3 AS kind FROM users WHERE verified_mail) u"
    )


@pytest.mark.clock
def test_everything_older_than_its_retention_is_deleted_in_batches(app: Flask, query: Query) -> None:
    many = module.BATCH + 10
    insert_expired(app, query, count=many)
    ApiClient(app).sign_up("fresh@example.org")

    report = run(app)

    deleted = (
        report.temporary_users,
        report.emails,
        report.ended_sessions,
        report.revert_links,
        report.invitations,
    )
    assert deleted == (many,) * 5
    for table, left in (("users", many + 1), ("letters", 0), ("sessions", 0), ("undos", 0), ("invitations", 0)):
        assert query(f"SELECT count(*) FROM {table}") == [(left,)], table


@pytest.mark.clock
def test_rows_younger_than_the_minimum_retention_stay_whatever_the_settings_are(
    make_app: MakeApp, app: Flask, query: Query
) -> None:
    short_retention = make_app(letter_lifetime_seconds=0, ended_session_lifetime_seconds=0)
    insert_expired(app, query, count=3)
    query("UPDATE letters SET ended_at = now() - interval '23 hours'")
    query("UPDATE sessions SET ended_at = now() - interval '23 hours', end_reason = 'signed_out'")
    query("UPDATE undos SET expires_at = now() + interval '5 minutes'")

    report = run(short_retention)

    assert (report.emails, report.ended_sessions, report.revert_links) == (0, 0, 0)


def test_no_batch_reads_a_whole_table(app: Flask, query: Query) -> None:
    insert_expired(app, query, count=5)
    with statements(app) as executed:
        run(app)
    deletions = [one for one in executed if "DELETE" in one[0]]
    assert len(deletions) == 6

    used = set()
    for statement, values in deletions:
        plan = plan_of(app, statement, values, settings="SET LOCAL enable_seqscan = off")
        assert not [name for kind, name in plan if kind == "Seq Scan"], plan
        used |= {name for kind, name in plan if "Index" in kind}

    assert used >= {
        "ix_users_temporary",
        "ix_letters_ended_at",
        "ix_sessions_ended_at",
        "ix_sessions_expires_at",
        "ix_undos_expires_at",
        "ix_invitations_ended_at",
    }


def test_rows_deleted_with_a_user_are_selected_by_an_index(query: Query, app: Flask) -> None:
    for table in ("sessions", "undos", "email_changes", "letters", "user_roles", "invitations"):
        plan = query(f"SET enable_seqscan = off; EXPLAIN SELECT FROM {table} WHERE user_id = 1")
        assert "Index" in str(plan), table


def test_only_one_maintenance_run_works_at_a_time(app: Flask, stores: Stores, query: Query) -> None:
    insert_expired(app, query, count=2)
    other = connected(stores)
    other.cursor().execute("SELECT pg_advisory_xact_lock(%s)", (Lock.MAINTENANCE.value,))

    runner: FlaskCliRunner = app.test_cli_runner()
    assert runner.invoke(command).output == "another process runs the maintenance\n"
    assert query("SELECT count(*) FROM undos") == [(2,)]
    other.rollback()
    other.close()
    assert runner.invoke(command).output == (
        "deleted 2 temporary users, 2 email records, 2 ended sessions, 2 account revert links, "
        "2 invitations and 0 idempotency keys\n"
    )


def test_concurrent_maintenance_runs_delete_each_row_once(app: Flask, query: Query) -> None:
    insert_expired(app, query, count=500)
    services: Services = app.extensions["auth_service"]

    def one(_: int) -> int:
        with app.app_context():
            report = services.maintenance.run()
        return report.revert_links if report else 0

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(one, range(3))) == 500


def test_the_mailer_runs_maintenance_and_reports_the_time_as_a_metric(
    app: Flask, services: Services, query: Query
) -> None:
    insert_expired(app, query, count=2)
    began = time.time()
    stop = threading.Event()
    maintenance_thread = MaintenanceThread(
        enter=app.app_context, maintenance=services.maintenance, stop=stop, first_within=timedelta()
    ).start()
    try:
        give_up_at = time.monotonic() + 10
        while SUCCEEDED_AT._value.get() < began:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
    finally:
        stop.set()
        maintenance_thread.join(5)

    assert not maintenance_thread.is_alive()
    assert query("SELECT count(*) FROM undos") == [(0,)]


def test_the_mailer_survives_an_unavailable_database(make_app: MakeApp) -> None:
    nowhere = make_app(database_url="postgresql://auth@127.0.0.1:9/auth")
    before = SUCCEEDED_AT._value.get()

    MaintenanceThread(
        enter=nowhere.app_context,
        maintenance=nowhere.extensions["auth_service"].maintenance,
        stop=threading.Event(),
    )._run_once()

    assert SUCCEEDED_AT._value.get() == before
