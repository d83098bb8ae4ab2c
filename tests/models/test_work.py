"""Units of work over connections that cost little and may die at any moment."""

import psycopg2
import psycopg2.extensions
import pytest
from flask import Flask
from sqlalchemy import text

from auth_service.errors import DatabaseAway
from auth_service.models import db, reading, unit_of_work
from tests.conftest import Stores
from tests.round_trips import counted


def end_session(stores: Stores, pid: int) -> None:
    connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            assert cursor.fetchone() == (True,)
    finally:
        connection.close()


def own_pid() -> int:
    with reading() as connection:
        pid: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return pid


def test_a_read_is_one_round_trip(app: Flask) -> None:
    with app.app_context():
        own_pid()
        with counted() as waits:
            own_pid()

    assert len(waits) == 1


def test_a_connection_that_was_read_from_has_transactions_again(app: Flask) -> None:
    with app.app_context():
        pid = own_pid()
        with db.engine.connect() as connection:
            assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() == pid
            driver = connection.connection.dbapi_connection
            assert driver is not None
            assert driver.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS


def test_a_server_that_dies_after_its_answer_spoils_nothing(app: Flask, stores: Stores) -> None:
    with app.app_context():
        with unit_of_work(), reading() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            end_session(stores, pid)

        assert own_pid() != pid


def test_a_server_that_dies_before_its_answer_is_away(app: Flask, stores: Stores) -> None:
    def ask_twice() -> None:
        with unit_of_work(), reading() as connection:
            end_session(stores, connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            connection.execute(text("SELECT 1"))

    with app.app_context():
        before = own_pid()
        with pytest.raises(DatabaseAway):
            ask_twice()

        assert own_pid() != before
