"""What an application asks PostgreSQL, and how that is carried out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import event

from auth_service.models import db


@contextmanager
def statements(app: Flask) -> Iterator[list[tuple[str, Any]]]:
    """Notes what is executed, with its values."""
    noted: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        noted.append((statement, values))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(engine, "before_cursor_execute", note)


def plan_of(app: Flask, statement: str, values: Any, *, settings: str = "") -> list[tuple[str, str]]:
    """The nodes of the plan of a statement, each with the index or table that it uses."""
    with app.app_context(), db.engine.connect() as connection:
        if settings:
            connection.exec_driver_sql(settings)
        [tree] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
        connection.rollback()

    def nodes(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
        yield node["Node Type"], node.get("Index Name", node.get("Relation Name", ""))
        for child in node.get("Plans", ()):
            yield from nodes(child)

    return list(nodes(tree["Plan"]))
