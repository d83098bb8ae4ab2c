"""Which revision the database is at, and whether this release can work with it."""

from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

MIGRATIONS = Path(__file__).parents[3] / "migrations"


def is_modelled(name: str | None, kind: str, parents: Any) -> bool:
    """Whether Alembic is to compare something with the models: partitions are parts of a table, and no models.

    The signature is that of Alembic's `include_name`.
    """
    table = name if kind == "table" else parents.get("table_name")
    return not (table or "").startswith("events_")


class SchemaState(Enum):
    """What this release thinks of a database."""

    CURRENT = "current"
    PENDING = "migrations are pending"
    NEXT = "one release ahead"
    """Rolling out: the next release has migrated already, and its schema still serves this one."""
    UNKNOWN = "not a revision that this release can work with"


@cache
def head() -> str:
    """The newest revision of this release."""
    found = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if found is None:
        raise RuntimeError("there are no migrations")
    return found


def schema_state(connection: Connection) -> SchemaState:
    """Compare the database with this release. Revisions are numbered, so the next one is known by its number."""
    try:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    except ProgrammingError:  # not even the table of revisions
        return SchemaState.PENDING
    if found is None or (found.isdecimal() and int(found) < int(head())):
        return SchemaState.PENDING
    if found == head():
        return SchemaState.CURRENT
    return SchemaState.NEXT if found == f"{int(head()) + 1:04}" else SchemaState.UNKNOWN
