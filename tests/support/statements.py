"""What an application asks PostgreSQL, and how that is carried out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2.extensions
from flask import Flask
from sqlalchemy import event

from auth_service.db import db

LOCK_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
"""Counts the sessions that wait for a lock, those of other databases of the server left out."""


@contextmanager
def statements(app: Flask) -> Iterator[list[tuple[str, Any]]]:
    """Notes the statements of each message, with the values that are not in their text."""
    audit_cte: list[tuple[str, Any]] = []

    class Noting(psycopg2.extensions.cursor):
        def execute(self, query: Any, values: Any = None) -> None:
            message = query.decode() if isinstance(query, bytes) else str(query)
            audit_cte.extend((statement, values) for statement in message.split(";\n"))
            super().execute(query, values)

    def note(connection: Any, *_: Any) -> None:
        connection.cursor_factory = Noting

    def forget(connection: Any, *_: Any) -> None:
        connection.cursor_factory = None

    with app.app_context():
        engine = db.engine
    event.listen(engine, "checkout", note)
    event.listen(engine, "checkin", forget)
    try:
        yield audit_cte
    finally:
        event.remove(engine, "checkout", note)
        event.remove(engine, "checkin", forget)


def plan_of(app: Flask, statement: str, values: Any, *, settings: str = "") -> list[tuple[str, str]]:
    """The nodes of the plan of a statement, each with the index or table that it uses.

    That of a prepared one is planned for any values, as PostgreSQL does it in the long run.
    """
    with app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")  # connections are in autocommit, where SET LOCAL has no effect
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        if settings:
            connection.exec_driver_sql(settings)
        [tree] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
        connection.exec_driver_sql("ROLLBACK")

    def nodes(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
        yield node["Node Type"], node.get("Index Name", node.get("Relation Name", ""))
        for child in node.get("Plans", ()):
            yield from nodes(child)

    return list(nodes(tree["Plan"]))
