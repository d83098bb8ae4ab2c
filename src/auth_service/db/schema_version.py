"""Schema version: compares the Alembic revision of the database with the migrations of this release."""

import re
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

INSUFFICIENT_PRIVILEGE = "42501"
PARTITION = re.compile(r"events_(?:default|[0-9]{4}_[0-9]{2})")
MIGRATIONS = Path(__file__).parents[3] / "migrations"


def is_modelled(name: str | None, kind: str, parents: Any) -> bool:
    """Whether Alembic compares an object with the models: true except for partitions of the audit log.

    This is the hook `include_name` of Alembic. Partitions have no model.
    """
    table = name if kind == "table" else parents.get("table_name")
    return not PARTITION.fullmatch(table or "")


class SchemaState(Enum):
    """The schema of a database as this release sees it."""

    CURRENT = "current"
    PENDING = "migrations are pending"
    NEXT = "one release ahead"
    """During a rolling update the next release has already migrated. Its schema also works for this release."""
    DENIED = "the role may not read the table alembic_version"
    UNKNOWN = "not a revision that this release can work with"


@cache
def head() -> str:
    """Return the newest revision of this release."""
    revision = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if revision is None:
        raise RuntimeError("there are no migrations")
    return revision


def schema_state(connection: Connection) -> SchemaState:
    """Compare the revision of the database with this release. Revisions are numbered, so the next one is recognised."""
    try:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    except ProgrammingError as error:
        denied = getattr(error.orig, "pgcode", None) == INSUFFICIENT_PRIVILEGE
        return SchemaState.DENIED if denied else SchemaState.PENDING  # the table of revisions does not exist
    if revision is None or (revision.isdecimal() and int(revision) < int(head())):
        return SchemaState.PENDING
    if revision == head():
        return SchemaState.CURRENT
    return SchemaState.NEXT if revision == f"{int(head()) + 1:04}" else SchemaState.UNKNOWN
