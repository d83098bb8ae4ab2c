"""Written transactions of an application, counted apart from all other activity of the PostgreSQL server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg2.extensions
from flask import Flask
from sqlalchemy import event

from auth_service.db import db

_BEGINS = re.compile(r"\s*(BEGIN|START\s+TRANSACTION)\b", re.IGNORECASE)
_ENDS = re.compile(r"(.*?)[;\s]*\bCOMMIT[;\s]*", re.IGNORECASE | re.DOTALL)


@dataclass
class Transactions:
    """The committed transactions of an application."""

    ids: list[int] = field(default_factory=list)
    """Ids of the transactions that wrote. PostgreSQL assigns none to a transaction that only reads."""
    added: int = 0
    """Statements that the measurement itself added, each one round trip."""
    statements: list[str] = field(default_factory=list)
    """The statements of the application without their values: `EXECUTE` and the name of a prepared one."""
    rows_read: int = 0
    """Rows that the statements of the application returned."""

    def ask(self, connection: psycopg2.extensions.connection, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement of the measurement itself."""
        self.added += 1
        with connection.cursor(cursor_factory=psycopg2.extensions.cursor) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def record(self, connection: psycopg2.extensions.connection) -> None:
        """Record the transaction that a connection is about to commit."""
        [(assigned,)] = self.ask(connection, "SELECT pg_current_xact_id_if_assigned()::text::bigint")
        if assigned is not None:
            self.ids.append(assigned)


class _RecordingCursor(psycopg2.extensions.cursor):
    def __init__(self, *arguments: Any, transactions: Transactions, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._transactions = transactions

    def execute(self, query: Any, values: Any = None) -> None:
        text = query.decode() if isinstance(query, bytes) else str(query)
        self._transactions.statements += [statement.partition(" (")[0] for statement in text.split(";\n")]
        if ends := _ENDS.fullmatch(text):
            self._run_and_commit(ends[1], values)
        elif self._is_a_transaction(text):
            self._run_as_transaction(query, values)
        else:
            super().execute(query, values)
            self._transactions.rows_read += self.rowcount if self.description else 0

    def _is_a_transaction(self, text: str) -> bool:
        idle = self.connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
        return idle and self.connection.autocommit and not _BEGINS.match(text)

    def _run_as_transaction(self, query: Any, values: Any) -> None:
        self._transactions.ask(self.connection, "BEGIN")
        try:
            super().execute(query, values)
        except psycopg2.Error:
            if not self.connection.closed:
                self._transactions.ask(self.connection, "ROLLBACK")
            raise
        self._transactions.rows_read += self.rowcount if self.description else 0
        self._transactions.record(self.connection)
        self._transactions.ask(self.connection, "COMMIT")

    def _run_and_commit(self, before: str, values: Any) -> None:
        if before:
            self._transactions.added += 1  # one message became several
            super().execute(before, values)
        self._transactions.record(self.connection)
        super().execute("COMMIT")


@contextmanager
def committed(app: Flask) -> Iterator[Transactions]:
    """Ask each connection of an application for the id of its transaction, right before that is committed.

    A counter of the whole server (`pg_snapshot_xmax`, the end of the WAL) would also count autovacuum and the other
    databases.
    """
    transactions = Transactions()

    def watch(connection: Any, *_: Any) -> None:
        connection.cursor_factory = partial(_RecordingCursor, transactions=transactions)

    def leave(connection: Any, *_: Any) -> None:
        if connection is not None:
            connection.cursor_factory = None

    def commits(connection: Any) -> None:
        transactions.record(connection.connection.dbapi_connection)

    with app.app_context():
        engine = db.engine
    listeners = {"checkout": watch, "checkin": leave, "commit": commits}
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    try:
        yield transactions
    finally:
        for name, listener in listeners.items():
            event.remove(engine, name, listener)
