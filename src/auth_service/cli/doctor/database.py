"""Checks of `manage.py doctor` for PostgreSQL: as the role of the service, and as the role that runs migrations."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from auth_service.adapters.postgres import inspection
from auth_service.adapters.postgres.connections import maintenance_engine
from auth_service.adapters.postgres.diagnosis import diagnose
from auth_service.adapters.postgres.inspection import Facts
from auth_service.cli.doctor.findings import Clock, Finding, fail, ok, warn
from auth_service.db import Base
from auth_service.db.schema_version import SchemaState, schema_state
from auth_service.settings import Settings
from auth_service.wiring import database_connections

OLDEST = 140000
"""The oldest supported version of PostgreSQL (14)."""


def examine(settings: Settings, clocks: list[Clock]) -> Iterator[Finding]:
    """Check the connections of DATABASE_URL and MIGRATION_DATABASE_URL."""
    yield from _connected("DATABASE_URL", str(settings.database_url), settings, clocks)
    if settings.migration_database_url is not None:
        yield from _connected("MIGRATION_DATABASE_URL", settings.migration_database_url, settings, clocks)


def _connected(name: str, url: str, settings: Settings, clocks: list[Clock]) -> Iterator[Finding]:
    try:
        with maintenance_engine(url) as engine, engine.connect() as connection:
            before = datetime.now(UTC)
            facts = inspection.facts(connection)
            yield from _server(name, facts, settings)
            if name == "DATABASE_URL":
                clocks.append(Clock.compare("PostgreSQL", facts.now, before=before, after=datetime.now(UTC)))
                yield from _schema(connection, facts, settings)
            if name == "MIGRATION_DATABASE_URL" or settings.migration_database_url is None:
                yield from _right_to_migrate(name, facts)
    except DBAPIError as error:
        yield fail("database", f"{name}: {diagnose(error.orig, url=url).text}")


def _server(name: str, facts: Facts, settings: Settings) -> Iterator[Finding]:
    yield ok(
        "database",
        f"{name}: PostgreSQL {facts.version.split()[0]}, database {facts.database}, role {facts.role}, schema "
        f"{facts.schema or 'none'}, {facts.tls}, time zone of the server {facts.time_zone}",
    )
    if facts.number < OLDEST:
        yield warn("database", f"{name}: PostgreSQL 14 or newer is needed")
    if facts.encoding != "UTF8":
        yield fail("database", f"{name}: the encoding of the database is {facts.encoding}; it must be UTF8")
    if facts.standby or facts.read_only:
        kind = "a standby" if facts.standby else "read-only (default_transaction_read_only)"
        yield fail("database", f"{name}: the server is {kind}; the service needs the primary")
    if facts.superuser and settings.production:
        yield warn("database", f"{name}: the role {facts.role} is a superuser; the service needs no such rights")
    needed = database_connections(settings) * (settings.web_workers + 1)
    if needed > facts.connections:
        yield warn(
            "database", f"{name}: one API and one mail worker may open {needed} connections of {facts.connections}"
        )


def _schema(connection: Connection, facts: Facts, settings: Settings) -> Iterator[Finding]:
    state = schema_state(connection)
    if state not in (SchemaState.CURRENT, SchemaState.NEXT):
        hint = "; run `manage.py db upgrade`" if state is SchemaState.PENDING else ""
        yield fail("database", f"migrations: {state.value}{hint}")
        return
    yield ok("database", f"migrations: {state.value}")
    tables = [table for table in Base.metadata.tables if table != "events"]
    missing = [
        *inspection.missing_rights(connection, [*tables, "alembic_version"], "SELECT"),
        *inspection.missing_rights(
            connection, [table for table in tables if table != "roles"], "INSERT", "UPDATE", "DELETE"
        ),
    ]
    yield from (fail("database", f"rights: the role {facts.role} lacks {lacking}") for lacking in missing)
    may_append, may_change = inspection.audit_log_rights(connection)
    if not may_append:
        yield fail("database", f"rights: the role {facts.role} may not read and append the audit log (events)")
    if not missing and may_append:
        yield ok("database", f"rights: the role {facts.role} may use every table")
    if may_change and settings.production:
        yield warn("database", f"rights: the role {facts.role} may change the audit log; see deploy/postgres/roles.sql")


def _right_to_migrate(name: str, facts: Facts) -> Iterator[Finding]:
    if facts.schema is None:
        yield fail("database", f"{name}: the role {facts.role} may use no schema of its search_path ({facts.path})")
    elif not facts.may_create:
        yield fail("database", f"{name}: the role {facts.role} may not create tables in the schema {facts.schema}")
