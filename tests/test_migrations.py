"""Alembic migrations: upgrade and downgrade of each, equal models, database constraints, one migrator at a time."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Engine, make_url

from auth_service.db import Base
from auth_service.db.schema_version import MIGRATIONS, SchemaState, head, is_modelled, schema_state
from tests.support.application import MakeApp
from tests.support.stores import Stores

MANAGE = Path(__file__).parents[1] / "manage.py"
REVISIONS = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


ONE_USER_WITH_AN_EMAIL = """
    INSERT INTO users (id, email, email_key, verified_mail, language) VALUES (1, 'a@x.org', 'a@x.org', false, 'en');
    INSERT INTO user_roles VALUES (1, 'ROLE_TEMPORARY_USER');
    INSERT INTO letters (id, dedup_key, kind, user_id, recipient, recipient_key, language, payload, not_after)
    VALUES (gen_random_uuid(), 'k', 'registration_code', 1, 'a@x.org', 'a@x.org', 'en', 'x', now());
"""


@pytest.fixture
def empty_database(stores: Stores) -> Iterator[Engine]:
    """A database without tables, apart from that of the other tests."""
    server = create_engine(stores.database_url, isolation_level="AUTOCOMMIT")
    name = f"{make_url(stores.database_url).database}_migrations"
    with server.connect() as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine = create_engine(make_url(stores.database_url).set(database=name))
    yield engine
    engine.dispose()
    with server.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    server.dispose()


@pytest.fixture
def migrated(empty_database: Engine, make_app: MakeApp) -> Flask:
    """An application over the empty database."""
    return make_app(database_url=empty_database.url.render_as_string(hide_password=False))


def objects(engine: Engine) -> dict[str, object]:
    """All tables with their columns, constraints and indexes, comparable."""
    inspector = inspect(engine)
    return {
        table: (
            sorted(str(column) for column in inspector.get_columns(table)),
            sorted(str(check["name"]) for check in inspector.get_check_constraints(table)),
            sorted(str(key) for key in inspector.get_foreign_keys(table)),
            sorted(str(index) for index in inspector.get_indexes(table)),
        )
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


@pytest.mark.slow
def test_every_migration_upgrades_downgrades_and_upgrades_again(migrated: Flask, empty_database: Engine) -> None:
    with migrated.app_context():
        for revision in REVISIONS:
            before = objects(empty_database)
            upgrade(revision=revision)
            after = objects(empty_database)
            assert after != before
            downgrade(revision="-1")
            assert objects(empty_database) == before
            upgrade(revision=revision)
            assert objects(empty_database) == after


def test_the_models_match_the_migrated_schema(migrated: Flask, empty_database: Engine) -> None:
    with migrated.app_context():
        upgrade()
    with empty_database.connect() as connection:
        differences = compare_metadata(
            MigrationContext.configure(connection, opts={"include_name": is_modelled}), Base.metadata
        )

    assert differences == []


def test_a_release_knows_the_state_of_the_schema(migrated: Flask, empty_database: Engine) -> None:
    def current_state() -> SchemaState:
        with empty_database.connect() as connection:
            return schema_state(connection)

    assert current_state() is SchemaState.PENDING
    with migrated.app_context():
        upgrade(revision=REVISIONS[0])
        assert current_state() is SchemaState.PENDING
        upgrade()
    assert current_state() is SchemaState.CURRENT
    for stamped, expected in (
        (f"{int(head()) + 1:04}", SchemaState.NEXT),
        (f"{int(head()) + 2:04}", SchemaState.UNKNOWN),
        ("elsewhere", SchemaState.UNKNOWN),
        (None, SchemaState.PENDING),
    ):
        with empty_database.begin() as connection:
            connection.execute(text("DELETE FROM alembic_version"))
            if stamped:
                connection.execute(text("INSERT INTO alembic_version VALUES (:stamped)"), {"stamped": stamped})
        assert current_state() is expected


@pytest.mark.slow
def test_concurrent_migrators_take_turns(stores: Stores, empty_database: Engine, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "APP_ENV": "test",
        "DATABASE_URL": empty_database.url.render_as_string(hide_password=False),
        "REDIS_URL": stores.redis_url,
        "DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, str(MANAGE), "db", "upgrade"]

    migrators = [
        subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    errors = [migrator.communicate(timeout=60)[1] for migrator in migrators]

    assert [migrator.returncode for migrator in migrators] == [0, 0, 0], errors
    with empty_database.connect() as connection:
        assert schema_state(connection) is SchemaState.CURRENT


@pytest.mark.slow
def test_a_migration_of_a_locked_table_is_retried(migrated: Flask, empty_database: Engine) -> None:
    with migrated.app_context():
        upgrade(revision="0002")
    url = empty_database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    blocker = psycopg2.connect(url)
    blocker.cursor().execute("LOCK TABLE letters IN ACCESS SHARE MODE")
    release = threading.Timer(3, blocker.rollback)
    release.start()

    with migrated.app_context():
        downgrade(revision="-1")  # lock_timeout after two seconds, then another attempt

    release.join()
    blocker.close()
    assert "letters" not in objects(empty_database)


def test_indexes_of_a_table_with_rows_are_built_concurrently_and_a_repetition_is_harmless(
    migrated: Flask, empty_database: Engine
) -> None:
    with migrated.app_context():
        upgrade(revision="0006")
        with empty_database.begin() as connection:
            connection.execute(text(ONE_USER_WITH_AN_EMAIL))
            # Left by a migration that was killed: what is built concurrently is not rolled back with the rest.
            connection.execute(text("ALTER TABLE letters ADD COLUMN slot bytea, ADD COLUMN code_number bigint"))
            connection.execute(text("CREATE INDEX ix_letters_dead ON letters (ended_at) WHERE state = 'dead'"))
        upgrade(revision="0007")

    with empty_database.connect() as connection:
        valid = connection.execute(
            text("SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisvalid AND relname LIKE :n"),
            {"n": "ix_letters%"},
        ).scalars()
        assert {"ix_letters_dead", "ix_letters_not_after", "ix_letters_slot_code_number"} <= set(valid)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE users SET id = 9007199254740992", "ck_users_id_safe_in_javascript"),
        ("UPDATE users SET id = 0", "ck_users_id_safe_in_javascript"),
        ("UPDATE users SET password_hash = 'x'", "ck_users_temporary_has_no_password"),
        ("UPDATE users SET verified_mail = true", "ck_users_verified_has_instant"),
        ("UPDATE users SET language = 'xx'", "ck_users_language_known"),
        ("UPDATE users SET email = repeat('a', 255)", "ck_users_email_length"),
        ("INSERT INTO user_roles VALUES (1, 'ROLE_NOBODY')", "fk_user_roles_role_roles"),
        ("INSERT INTO user_roles VALUES (2, 'ROLE_PORTAL_USER')", "fk_user_roles_user_id_users"),
        ("INSERT INTO roles VALUES ('admin')", "ck_roles_name_form"),
        ("DELETE FROM roles WHERE name = 'ROLE_TEMPORARY_USER'", "fk_user_roles_role_roles"),
        ("UPDATE letters SET state = 'sent', ended_at = now()", "ck_letters_only_waiting_has_payload"),
        ("UPDATE letters SET payload = NULL", "ck_letters_only_waiting_has_payload"),
        ("UPDATE letters SET state = 'lost', payload = NULL, ended_at = now()", "ck_letters_state_known"),
        ("UPDATE letters SET ended_at = now()", "ck_letters_ended_has_instant"),
        ("UPDATE letters SET language = 'xx'", "ck_letters_language_known"),
        ("UPDATE letters SET attempts = -1", "ck_letters_attempts_counted"),
        (
            (
                "INSERT INTO users (id, email, email_key, verified_mail, language)"
                " VALUES (2, 'A@x.org', 'a@x.org', false, 'en')"
            ),
            "uq_users_email_key",
        ),
    ],
)
def test_constraints_reject_inconsistent_rows(
    make_app: MakeApp, stores: Stores, statement: str, constraint: str
) -> None:
    connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    try:
        cursor = connection.cursor()
        cursor.execute(ONE_USER_WITH_AN_EMAIL)
        with pytest.raises(psycopg2.IntegrityError) as error:
            cursor.execute(statement)
        assert error.value.diag.constraint_name == constraint
    finally:
        connection.rollback()
        connection.close()


def test_deleting_a_user_deletes_the_roles_and_keeps_the_email_records(make_app: MakeApp, stores: Stores) -> None:
    connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    cursor = connection.cursor()
    cursor.execute(ONE_USER_WITH_AN_EMAIL)
    cursor.execute("DELETE FROM users")
    cursor.execute("SELECT (SELECT count(*) FROM user_roles), (SELECT count(*) FROM letters WHERE user_id IS NULL)")

    assert cursor.fetchone() == (0, 1)
    connection.rollback()
    connection.close()
