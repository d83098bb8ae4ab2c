"""Inspection of PostgreSQL for `manage.py doctor`: version, role, rights, schema, read-only state, clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

FACTS = text(
    """
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
        current_user AS role, current_database() AS database, current_schema() AS schema,
        current_setting('search_path') AS path, current_setting('server_encoding') AS encoding,
        (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone') AS time_zone,
        pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only,
        current_setting('max_connections')::int AS connections,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
        coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl), 'no TLS') AS tls,
        current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE') AS may_create,
        clock_timestamp() AS now
    """
)
MISSING_RIGHTS = text(
    """
    SELECT name || ': ' || string_agg(privilege, ', ' ORDER BY privilege)
    FROM unnest(CAST(:tables AS text[])) AS name, unnest(CAST(:privileges AS text[])) AS privilege
    WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(name, privilege)
    GROUP BY name ORDER BY name
    """
)
AUDIT_LOG = text(
    """
    SELECT has_table_privilege('events', 'SELECT') AND has_any_column_privilege('events', 'INSERT') AS may_append,
        has_table_privilege('events', 'UPDATE, DELETE') AS may_change
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What PostgreSQL reports about the server, the role and the connection: the row of FACTS."""

    version: str
    number: int
    role: str
    database: str
    schema: str | None
    path: str
    encoding: str
    time_zone: str
    standby: bool
    read_only: bool
    connections: int
    superuser: bool
    tls: str
    may_create: bool
    now: datetime


def facts(connection: Connection) -> Facts:
    """Read the facts of the server for this connection."""
    return Facts(**connection.execute(FACTS).mappings().one())


def missing_rights(connection: Connection, tables: Iterable[str], *privileges: str) -> list[str]:
    """One text for each table on which the role lacks privileges; tables that do not exist are left out."""
    parameters = {"tables": list(tables), "privileges": list(privileges)}
    return list(connection.scalars(MISSING_RIGHTS, parameters))


def audit_log_rights(connection: Connection) -> tuple[bool, bool]:
    """Whether the role may append to the audit log, and whether it may change or delete its rows."""
    may_append, may_change = connection.execute(AUDIT_LOG).one()
    return may_append, may_change
