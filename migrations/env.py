"""Alembic environment: migrations run one process at a time, with a short lock timeout and consecutive numbers."""

import logging
import time
from collections.abc import Callable
from typing import Any

from alembic import context
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext
from flask import current_app
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from auth_service.adapters.postgres.connections import maintenance_engine
from auth_service.db import Base
from auth_service.db.advisory_locks import Lock
from auth_service.db.schema_version import is_modelled
from auth_service.settings import Settings

log = logging.getLogger("alembic.env")

LOCK_TRIES = 5

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
    """Migrate the database of the settings, as its owner."""
    url = settings.migration_database_url or settings.database_url
    if url is None:
        raise SystemExit("DATABASE_URL: needed to migrate")
    with maintenance_engine(url) as engine, engine.connect() as connection:
        # A session-level lock outlives the transactions of single migrations and ends with the connection.
        connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": Lock.MIGRATIONS.value})
        # A migration that waits for a table lock blocks all later statements on the table, so it waits two seconds at
        # most and tries again later.
        connection.execute(text("SET lock_timeout = '2s'"))
        connection.commit()
        retry_on_lock_timeout(lambda: migrate(connection), connection=connection)


def migrate(connection: Connection) -> None:
    """Run all pending migrations, each in a transaction of its own."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=is_modelled,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
        process_revision_directives=number_revisions,
    )
    with context.begin_transaction():
        context.run_migrations()


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
