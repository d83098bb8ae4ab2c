"""Written transactions: one for each way to commit, none for transactions that only read or are rolled back."""

from typing import Any

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import text

from auth_service.db import db
from tests.support.stores import Query
from tests.support.transactions import committed

WRITES = "SELECT pg_logical_emit_message(true, 'tests', '')"
"""Assigns a transaction id and writes to the WAL, but to no table."""
READS = "SELECT 1"


def send(*messages: str) -> list[Any]:
    """Send messages over a connection of the pool, all in autocommit; returns the last row of each that has one."""
    lent = db.engine.raw_connection()
    driver: Any = lent.dbapi_connection
    rows: list[Any] = []
    try:
        with driver.cursor() as cursor:
            for message in messages:
                cursor.execute(message.encode())
                rows += cursor.fetchall() if cursor.description else []
    finally:
        lent.close()
    return rows


@pytest.mark.parametrize(
    ("messages", "count"),
    [
        ((READS,), 0),
        ((WRITES,), 1),
        ((WRITES, WRITES), 2),
        ((f"{WRITES};\n{WRITES}",), 1),
        (("BEGIN", READS, "COMMIT"), 0),
        (("BEGIN", WRITES, "COMMIT"), 1),
        ((f"BEGIN;\n{WRITES}", f"{WRITES};\nCOMMIT"), 1),
        ((f"BEGIN;\n{WRITES};\nCOMMIT;",), 1),
        (("BEGIN", WRITES, "ROLLBACK"), 0),
    ],
)
def test_messages_in_autocommit_are_counted_by_their_commits(app: Flask, messages: tuple[str, ...], count: int) -> None:
    with app.app_context(), committed(app) as transactions:
        send(*messages)

    assert len(transactions.ids) == len(set(transactions.ids)) == count


def test_commits_and_rollbacks_of_sqlalchemy(app: Flask) -> None:
    with app.app_context(), committed(app) as transactions, db.engine.connect() as connection:
        connection.execution_options(isolation_level="READ COMMITTED")  # until it returns to the pool
        for statement, end in ((READS, connection.commit), (WRITES, connection.rollback), (WRITES, connection.commit)):
            connection.execute(text(statement))
            end()

    assert len(transactions.ids) == 1


def test_a_statement_that_fails_is_not_counted_and_the_next_one_is(app: Flask) -> None:
    with app.app_context(), committed(app) as transactions:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            send(f"{WRITES};\nSELECT 1 / 0")
        assert send("SELECT 7") == [(7,)]
        send(WRITES)

    assert len(transactions.ids) == 1


def test_transactions_of_other_clients_are_not_counted(app: Flask, query: Query) -> None:
    with app.app_context(), committed(app) as transactions:
        query(WRITES)
        send(WRITES)
        query(WRITES)

    assert len(transactions.ids) == 1
