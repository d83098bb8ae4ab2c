"""Schemas of PostgreSQL: a role with a schema of its own, `search_path` in the URL, no half schema after a failure."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import psycopg2.sql
import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from auth_service.adapters.postgres.connections import engine_options
from auth_service.db import autocommit
from auth_service.db.schema_version import SchemaState, schema_state
from auth_service.embedded import engines
from auth_service.server.wsgi import wait_for_dependencies
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.application import MakeApp
from tests.support.stores import Stores, asking, temporary_database

MANAGE = Path(__file__).parents[1] / "manage.py"
PASSWORD = "of-the-role"  # a role of a temporary database


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Postgres]:
    """A PostgreSQL whose superuser may create roles."""
    with engines.running(data_dir=tmp_path_factory.mktemp("schemas"), durable=False) as running:
        yield running.postgres


@pytest.fixture
def database(server: engines.Postgres) -> Iterator[URL]:
    """An empty database, as its superuser."""
    url = make_url(server.url).set(username="postgres", password=server.superuser_password, database="postgres")
    with temporary_database(url.render_as_string(hide_password=False), "portal"):
        yield url.set(database="portal")


def run(url: URL, *statements: str) -> None:
    """Run statements as the user of the URL."""
    connection = psycopg2.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    connection.autocommit = True
    for statement in statements:
        connection.cursor().execute(statement)
    connection.close()


@pytest.fixture
def role(database: URL) -> Iterator[URL]:
    """The database as a role without rights in `public`."""
    run(
        database,
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"CREATE ROLE portal LOGIN PASSWORD '{PASSWORD}'",
        "GRANT CREATE ON DATABASE portal TO portal",
    )
    yield database.set(username="portal", password=PASSWORD)
    run(database, "DROP OWNED BY portal CASCADE", "DROP ROLE portal")


def names(url: URL) -> set[tuple[str, str]]:
    """Schema and name of each table and function of the service."""
    query = asking(url.render_as_string(hide_password=False))
    rows = query(
        "SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p')"
        " UNION SELECT nspname, proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace"
    )
    return {(schema, name) for schema, name in rows if not schema.startswith(("pg_", "information_schema"))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "query"),
    [
        ("portal", {}),  # "$user" of the default search_path
        ("accounts", {"options": "-csearch_path=accounts"}),
        ("accounts", {"options": "-c search_path=accounts,public -c work_mem=8MB"}),
        ("My accounts", {"options": '-c search_path="My\\ accounts"'}),
    ],
)
def test_a_role_without_rights_in_public_has_the_whole_schema_in_its_own(
    role: URL, make_app: MakeApp, schema: str, query: dict[str, str]
) -> None:
    run(role, f'CREATE SCHEMA "{schema}"')
    url = role.update_query_dict(query)
    app = make_app(database_url=url.render_as_string(hide_password=False))

    with app.app_context():
        upgrade()
        with autocommit() as connection:
            assert schema_state(connection) is SchemaState.CURRENT
            assert connection.scalar(text("SHOW timezone")) == "UTC"
    assert {found for found, _ in names(role)} == {schema}
    api = ApiClient(app)
    user = api.sign_up("ada@example.org")
    api.ask_for_code(user, 7505)
    api.confirm(user, 7505)
    api.finish(user)
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        assert services.maintenance.run() is not None
        downgrade(revision="base")
    assert {name for _, name in names(role)} == {"alembic_version"}


@pytest.mark.slow
def test_a_role_that_may_not_read_the_revision_is_told_so(role: URL, database: URL, make_app: MakeApp) -> None:
    with make_app(database_url=database.render_as_string(hide_password=False)).app_context():
        upgrade()
    run(database, "GRANT USAGE ON SCHEMA public TO portal")
    app = make_app(database_url=role.render_as_string(hide_password=False))

    with app.app_context():
        with autocommit() as connection:
            assert schema_state(connection) is SchemaState.DENIED
        [trouble] = wait_for_dependencies(app.extensions["auth_service"])
    assert "the role may not read the table alembic_version" in trouble
    assert app.test_client().get("/health/ready").status_code == 503


@pytest.mark.slow
def test_a_failed_first_migration_leaves_nothing(role: URL, make_app: MakeApp) -> None:
    run(role, "CREATE SCHEMA portal", "CREATE TABLE events_default (id int)")
    app = make_app(database_url=role.render_as_string(hide_password=False))

    with app.app_context(), pytest.raises(Exception, match="events_default"):
        upgrade()

    assert names(role) == {("portal", "events_default")}


def command(url: URL, stores: Stores, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of manage.py over a database."""
    environment = {
        **os.environ,
        "APP_ENV": "test",
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "REDIS_URL": stores.redis_url,
        "DATA_DIR": str(folder),
    }
    return subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
def test_missing_rights_are_named(role: URL, database: URL, stores: Stores, tmp_path: Path) -> None:
    no_schema = command(role, stores, tmp_path, "db", "upgrade")
    assert (no_schema.returncode, no_schema.stderr) == (
        1,
        'DATABASE_URL: the role portal may use no schema of its search_path ("$user", public)\n',
    )

    run(database, "GRANT USAGE ON SCHEMA public TO portal")
    no_right = command(role, stores, tmp_path, "db", "upgrade")
    assert (no_right.returncode, no_right.stderr) == (
        1,
        "DATABASE_URL: the role portal lacks a right (permission denied for schema public)\n",
    )
    assert names(role) == set()


@pytest.mark.slow
def test_db_upgrade_prints_what_it_did(database: URL, stores: Stores, tmp_path: Path) -> None:
    first, second = (command(database, stores, tmp_path, "db", "upgrade") for _ in range(2))
    down = command(database, stores, tmp_path, "db", "downgrade")
    current = command(database, stores, tmp_path, "db", "current")

    lines = first.stdout.splitlines()
    assert lines[0] == "Applied 0001: Users, the roles of the registration, and who has them."
    assert lines[-1].startswith("The schema is at 00")
    assert second.stdout == f"{lines[-1].removesuffix('.')}; nothing to do.\n"
    assert down.stdout.startswith(f"Reverted {lines[-2].split()[1]}")
    assert "The schema is at" not in current.stdout


def test_settings_of_the_operator_take_precedence(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def arguments(url: str) -> dict[str, object]:
        of_engine: dict[str, object] = engine_options(url, connections=1)["connect_args"]
        return of_engine

    default = str(arguments("postgresql://a@b/c")["options"])
    named = arguments("postgresql://a@b/c?options=-cstatement_timeout%3D9s&tcp_user_timeout=1&application_name=x")

    assert str(named["options"]).split(" -c")[-2].endswith("statement_timeout=9s")
    assert str(named["options"]).startswith(default.removesuffix(" -c timezone=UTC"))
    assert "tcp_user_timeout" not in named
    assert "application_name" not in named
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=8MB")
    assert "-c work_mem=8MB" in str(arguments("postgresql://a@b/c")["options"])
