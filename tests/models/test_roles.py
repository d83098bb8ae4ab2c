"""Database privileges: what the PostgreSQL roles of production allow the service and the owner of the tables."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from flask import Flask
from flask_migrate import upgrade
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from auth_service.app import create_app
from auth_service.db import unit_of_work
from auth_service.db.schema_version import head, schema_state
from auth_service.embedded import engines
from auth_service.settings import Settings
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.application import forget

pytestmark = pytest.mark.slow  # it starts engines of its own

ROLES = Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql"
OWNER, SERVICE = "owner-0123456789", "service-0123456789"

Run = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose database `auth` has the roles of production; its URL contains `{role}` as a placeholder."""
    with engines.running(data_dir=tmp_path_factory.mktemp("roles") / "data", durable=False) as started:
        postgres = started.postgres
        superuser = psycopg2.connect(
            f"postgresql://postgres:{postgres.superuser_password}@127.0.0.1:{postgres.port}/postgres"
        )
        superuser.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        script = ROLES.read_text(encoding="utf-8").replace(":'owner_password'", f"'{OWNER}'")
        script = re.sub(r"^\\getenv.*$", "", script, flags=re.MULTILINE).replace(":'app_password'", f"'{SERVICE}'")
        script = script.replace(':"DBNAME"', "auth")
        for statement in ("DROP DATABASE auth", "DROP ROLE auth", "CREATE DATABASE auth"):
            superuser.cursor().execute(statement)
        superuser.close()
        in_auth = psycopg2.connect(
            f"postgresql://postgres:{postgres.superuser_password}@127.0.0.1:{postgres.port}/auth"
        )
        with in_auth, in_auth.cursor() as cursor:
            cursor.execute(script)
        in_auth.close()
        yield f"postgresql://{{role}}@127.0.0.1:{postgres.port}/auth"


@pytest.fixture(scope="module")
def deployed(server: str, make_settings: Callable[..., Settings]) -> Iterator[Flask]:
    """The service, migrated by the owner and running as its own role."""
    app = create_app(
        make_settings(
            database_url=server.format(role=f"auth:{SERVICE}"),
            migration_database_url=server.format(role=f"auth_owner:{OWNER}"),
            rate_limits="off",
        )
    )
    with app.app_context():
        upgrade()
    yield app
    forget(app)


def runs_as(address: str) -> Run:
    """Runs a statement of its own transaction as a database role."""

    def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(address)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    return run


@pytest.fixture
def as_service(server: str, deployed: Flask) -> Run:
    """Runs a statement with the privileges of the service."""
    return runs_as(server.format(role=f"auth:{SERVICE}"))


@pytest.fixture
def as_owner(server: str, deployed: Flask) -> Run:
    """Runs a statement as the owner of the tables."""
    return runs_as(server.format(role=f"auth_owner:{OWNER}"))


@pytest.fixture
def ada(deployed: Flask, as_owner: Run) -> Iterator[int]:
    """A user with audit events."""
    api = ApiClient(deployed)
    user_id = api.sign_up("ada@example.org")
    api.ask_for_code(user_id, 7505)
    api.confirm(user_id, 7505)
    assert api.finish(user_id, password="correct horse battery").status_code == 200
    tokens = api.signed_in("ada@example.org", "correct horse battery")
    assert api.sign_in("ada@example.org", "a wrong password").status_code == 401
    assert api.with_token(tokens["access_token"], "GET", "/me/login_history").status_code == 200
    yield user_id
    as_owner("DELETE FROM users")
    as_owner("DELETE FROM events")


def test_lg3_the_service_can_only_insert_into_the_audit_log(ada: int, as_service: Run) -> None:
    [(partition,)] = as_service("SELECT tableoid::regclass::text FROM events LIMIT 1")
    assert re.fullmatch(r"events_\d{4}_\d{2}", partition)
    for table in ("events", "events_default", partition):
        for statement in ("UPDATE {} SET kind = 'signed_in'", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                as_service(statement.format(table))
    for statement in (
        f"INSERT INTO {partition} OVERRIDING SYSTEM VALUE VALUES (1, now(), 1, 'x', 'success', NULL, NULL, '', '{{}}')",
        "INSERT INTO events (at, kind, outcome, device, details) VALUES ('2020-01-01', 'x', 'success', '', '{}')",
        "SELECT setval('events_id_seq', 1)",
        "ALTER TABLE events DETACH PARTITION events_default",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            as_service(statement)

    assert as_service("SELECT kind FROM events ORDER BY id") == [("registered",), ("signed_in",), ("sign_in_refused",)]


def test_au3_the_service_can_neither_change_remove_date_nor_number_an_event(ada: int, as_service: Run) -> None:
    columns = "user_id, kind, outcome, device, details, actor_type, actor_id, target_type, target_id, request_id"
    values = "1, 'role.granted', 'success', '', '{}', 'user', '2', 'role', 'ROLE_X', 'request-1'"
    as_service(f"INSERT INTO events ({columns}) VALUES ({values})")
    for statement in (
        f"INSERT INTO events (id, {columns}) OVERRIDING SYSTEM VALUE VALUES (1, {values})",
        f"INSERT INTO events (at, {columns}) VALUES (now(), {values})",
        "UPDATE events SET actor_id = '1'",
        "UPDATE events SET request_id = NULL WHERE false",
        "DELETE FROM events WHERE false",
        "TRUNCATE events",
        "SELECT 1 FROM events FOR UPDATE",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            as_service(statement)

    with pytest.raises(psycopg2.errors.GeneratedAlways):
        as_service(f"INSERT INTO events (id, {columns}) VALUES (1, {values})")

    assert as_service("SELECT count(*) FROM events") == [(4,)]


def test_au7_the_service_can_only_add_audit_seals(ada: int, as_service: Run, as_owner: Run) -> None:
    as_service("INSERT INTO audit_seals VALUES ('2026-01-01 00:00Z', 0, sha256(''), 'x')")
    for statement in (
        "UPDATE audit_seals SET rows = 1",
        "DELETE FROM audit_seals",
        "TRUNCATE audit_seals",
        "INSERT INTO events_forgotten VALUES (1, sha256(''))",
        "UPDATE events_forgotten SET digest = sha256('')",
        "DELETE FROM events_forgotten",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            as_service(statement)
    assert as_service("SELECT count(*) FROM audit_seals, (SELECT count(*) FROM events_forgotten) AS f") == [(1,)]
    as_owner("DELETE FROM audit_seals")


def test_cf4_the_service_cannot_change_the_schema(ada: int, as_service: Run) -> None:
    for statement in (
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "ALTER TABLE users ADD COLUMN mine int",
        "DROP TABLE letters",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION events_make_month() RETURNS text LANGUAGE sql AS 'SELECT NULL'",
        "CREATE SCHEMA mine",
        "SET ROLE auth_owner",
    ):
        with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.InvalidParameterValue)):
            as_service(statement)


def test_lg3_only_the_service_may_call_the_security_definer_functions(server: str, as_owner: Run) -> None:
    functions = as_owner(
        "SELECT proname, prosecdef, proconfig[1], has_function_privilege('auth', oid, 'EXECUTE'),"
        " coalesce((SELECT bool_or(grantee = 0) FROM aclexplode(proacl)), true)"
        " FROM pg_proc WHERE proname LIKE 'events%' ORDER BY 1"
    )

    assert functions == [
        (name, True, "search_path=public, pg_temp", True, False)
        for name in ("events_drop_month", "events_forget_person", "events_make_month")
    ]


def test_lg3_the_service_cannot_drop_recent_partitions_of_the_audit_log(ada: int, as_service: Run) -> None:
    assert as_service("SELECT events_drop_month('0 days')") == [(None,)]
    assert as_service("SELECT events_drop_month('-100 years')") == [(None,)]
    assert as_service("SELECT count(*) FROM events") == [(3,)]


def test_az8_the_audit_log_of_a_user_is_kept_until_the_account_is_deleted(
    ada: int, deployed: Flask, as_service: Run
) -> None:
    with pytest.raises(psycopg2.errors.RaiseException):
        as_service("SELECT events_forget_person(%s)", ada)

    services: Services = deployed.extensions["auth_service"]
    with deployed.app_context(), unit_of_work():
        as_service("DELETE FROM users WHERE id = %s", ada)
        services.audit_log.anonymize_user(ada)

    columns = "kind, outcome, user_id, session_id, address, device, details"
    assert as_service(f"SELECT {columns} FROM events ORDER BY id") == [
        ("registered", "success", None, None, None, "", {}),
        ("signed_in", "success", None, None, None, "", {"method": "password"}),
        ("sign_in_refused", "failure", None, None, None, "", {"method": "password"}),
        ("account_deleted", "success", None, None, None, "", {}),
    ]


def test_cf4_maintenance_needs_only_the_role_of_the_service(
    ada: int, deployed: Flask, as_owner: Run, as_service: Run
) -> None:
    as_owner("CREATE TABLE events_2019_03 PARTITION OF events FOR VALUES FROM ('2019-03-01') TO ('2019-04-01')")
    [(last,)] = as_owner("SELECT max(relname) FROM pg_class WHERE relname ~ '^events_[0-9]{4}_[0-9]{2}$'")
    as_owner(f"DROP TABLE {last}")
    services: Services = deployed.extensions["auth_service"]

    with deployed.app_context():
        report = services.maintenance.run()

    assert report is not None
    assert (report.months_created, report.months_dropped) == ([last], ["events_2019_03"])
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        as_service(f"SELECT * FROM {last}")


def test_the_service_can_read_the_schema_revision_of_the_owner(deployed: Flask) -> None:
    from auth_service.db import autocommit

    with deployed.app_context(), autocommit() as connection:
        assert schema_state(connection).name == "CURRENT", head()
