"""Alembic environment: migrations run one process at a time, with a short lock timeout and consecutive numbers."""

import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from alembic import context
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext
from flask import current_app
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

from auth_service.adapters.postgres.connections import maintenance_engine
from auth_service.adapters.postgres.diagnosis import BY_STATE, UNDEFINED_COLUMN, UNDEFINED_TABLE, diagnose
from auth_service.db import Base
from auth_service.db.advisory_locks import Lock
from auth_service.db.schema_version import is_modelled
from auth_service.settings import Settings

log = logging.getLogger("alembic.env")

LOCK_TRIES = 5
PAUSE_FOR_OTHER_MIGRATOR = 0.2

settings: Settings = current_app.extensions["auth_service"].settings


def number_revisions(migration: MigrationContext, _: Any, directives: list[MigrationScript]) -> None:
    """Give a new revision the next number instead of a random name."""
    options = context.config.cmd_opts
    if getattr(options, "autogenerate", False) and all(
        script.upgrade_ops is None or script.upgrade_ops.is_empty() for script in directives
    ):
        directives[:] = []
        print("The models have not changed: no migration was created.")  # noqa: T201 - output of a command
        return
    head = migration.script.get_current_head() if migration.script else None
    for script in directives:
        script.rev_id = f"{int(head or 0) + 1:04}"


def run_online() -> None:
    """Migrate the database of the settings, as its owner. Ends with the reason in words if that cannot work."""
    name = "MIGRATION_DATABASE_URL" if settings.migration_database_url else "DATABASE_URL"
    url = settings.migration_database_url or settings.database_url
    if url is None:
        raise SystemExit("DATABASE_URL: needed to migrate")
    failure = None
    try:
        with maintenance_engine(url) as engine, engine.connect() as connection:
            _run(connection)
    except DBAPIError as error:
        # A defect of a migration keeps its traceback; the server or the rights of the role do not need one.
        explained = BY_STATE.keys() - {UNDEFINED_TABLE, UNDEFINED_COLUMN}
        if not isinstance(error, OperationalError) and getattr(error.orig, "pgcode", None) not in explained:
            raise
        log.debug("the migration failed", exc_info=True)
        failure = diagnose(error.orig, url=url).text
        primary = getattr(getattr(error.orig, "diag", None), "message_primary", None)
        failure += f" ({primary})" if primary else ""
    if failure:
        raise SystemExit(f"{name}: {failure}")


def _run(connection: Connection) -> None:
    # A session-level lock outlives the transactions of single migrations and ends with the connection.
    # Repeated attempts: a statement that waited for the lock would have a snapshot, for whose end the migrator with the
    # lock would wait in CREATE INDEX CONCURRENTLY (deadlock).
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": Lock.MIGRATIONS.value}):
        connection.commit()
        time.sleep(PAUSE_FOR_OTHER_MIGRATOR)
    # A migration that waits for a table lock blocks all later statements on the table, so it waits two seconds at
    # most and tries again later.
    connection.execute(text("SET lock_timeout = '2s'"))
    connection.commit()
    _check_schema(connection)
    retry_on_lock_timeout(lambda: migrate(connection), connection=connection)


def _check_schema(connection: Connection) -> None:
    """End if the tables would have no schema: the first one of the search_path that exists and the role may use."""
    schema, role, path = connection.execute(
        text("SELECT current_schema(), current_user, current_setting('search_path')")
    ).one()
    connection.commit()
    if schema is None:
        raise SystemExit(f"DATABASE_URL: the role {role} may use no schema of its search_path ({path})")
    if not re.fullmatch(r"[^\W\d][\w -]*", schema):
        raise SystemExit("DATABASE_URL: the name of the schema must consist of letters, digits, _, - and spaces")


def migrate(connection: Connection) -> None:
    """Run all pending migrations: those of a new database in one transaction, so that no half schema can stay.

    Migrations of a schema that is in use have a transaction each, because the locks of one last until it commits.
    """
    before = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=is_modelled,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=before is not None,
        process_revision_directives=number_revisions,
        on_version_apply=report,  # type: ignore[arg-type] # it is called with keywords only
    )
    with context.begin_transaction():
        context.run_migrations()
    with suppress(KeyError):  # commands without a destination, as `current`, change nothing
        context.get_revision_argument()
        after = MigrationContext.configure(connection).get_current_revision()
        print(f"The schema is at {after or 'no revision'}{'' if after != before else '; nothing to do'}.")  # noqa: T201


def report(*, step: Any, **_: Any) -> None:
    """Print one line for a migration; a hook of Alembic."""
    print(f"{'Applied' if step.is_upgrade else 'Reverted'} {step.up_revision_id}: {step.up_revision.doc}")  # noqa: T201


def retry_on_lock_timeout(work: Callable[[], None], *, connection: Connection) -> None:
    """Run the migrations again if another transaction held a lock for too long; completed migrations stay."""
    for pause in [*range(1, LOCK_TRIES), None]:
        try:
            work()
        except OperationalError as error:
            if pause is None or getattr(error.orig, "pgcode", None) != "55P03":
                raise
            connection.rollback()
            log.warning("a table is locked; trying again in %s s", pause)
            time.sleep(pause)
        else:
            return


def run_offline() -> None:
    """Print the SQL instead of running it."""
    context.configure(
        url=settings.database_url, target_metadata=Base.metadata, literal_binds=True, dialect_name="postgresql"
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
