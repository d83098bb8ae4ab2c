"""Prepared statements: one round trip, the same errors, and a fallback behind a connection pooler that drops them."""

import logging

import pytest
from flask import Flask
from sqlalchemy import literal_column, select, text

from auth_service.db import NoParameters, Statement, autocommit, db, fetch_one, transaction, unit_of_work
from auth_service.errors import DatabaseUnavailable
from tests.support.application import MakeApp
from tests.support.connections import end_session, own_pid
from tests.support.roles import ADD, DROP, FIND, NAME
from tests.support.round_trips import counted
from tests.support.stores import Stores

END = Statement(
    select(literal_column("pg_terminate_backend(pg_backend_pid(), 5000)")), parameters=NoParameters, row=bool
)


def test_a_statement_is_one_round_trip_once_it_is_prepared(app: Flask) -> None:
    with app.app_context(), unit_of_work():
        fetch_one(FIND({"name": NAME}))
        with counted() as waits:
            assert fetch_one(FIND({"name": NAME})) is None
            assert fetch_one(FIND({"name": "ROLE_PORTAL_USER"})) == "ROLE_PORTAL_USER"

    assert len(waits) == 2


def test_a_terminated_session_is_unavailable_and_replaced(app: Flask, stores: Stores) -> None:
    def read_twice() -> None:
        with unit_of_work():
            fetch_one(FIND({"name": NAME}))
            # The session ends after the connection check and before the answer.
            transaction().fetch_one(END({}))

    with app.app_context():
        before = own_pid()
        with pytest.raises(DatabaseUnavailable):
            read_twice()
        assert own_pid() != before
        end_session(stores, own_pid())
        with unit_of_work():
            assert fetch_one(FIND({"name": "ROLE_PORTAL_USER"})) == "ROLE_PORTAL_USER"


@pytest.fixture
def behind_a_pooler(make_app: MakeApp) -> Flask:
    """An application of one test alone, because its engine stops using prepared statements."""
    return make_app(service_name="Behind a pooler")


def test_a_pooler_that_drops_prepared_statements_disables_them_without_errors(
    behind_a_pooler: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    with behind_a_pooler.app_context(), unit_of_work():
        fetch_one(FIND({"name": NAME}))
        fetch_one(ADD({"name": NAME}))
        with autocommit() as connection:
            connection.execute(text("DEALLOCATE ALL"))
        with caplog.at_level(logging.WARNING):
            transaction().write(DROP({"name": NAME}))
            assert transaction().fetch_one(ADD({"name": NAME})) == NAME
            assert fetch_one(FIND({"name": NAME})) == NAME
            transaction().write(DROP({"name": NAME}))

    assert "are lost between transactions" in caplog.text


def test_a_changed_column_type_replaces_one_prepared_statement_and_not_all(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    words = Statement(select(literal_column("word")).select_from(text("words")), parameters=NoParameters, row=str)
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE words AS SELECT 'seven'::varchar(9) AS word")
    try:
        with app.app_context(), unit_of_work():
            assert fetch_one(words({})) == "seven"
            with autocommit() as connection:
                connection.exec_driver_sql("ALTER TABLE words ALTER word TYPE text")

            assert fetch_one(words({})) == "seven"

            assert "are lost between transactions" not in caplog.text
            fetch_one(FIND({"name": NAME}))
            with counted() as waits:
                assert fetch_one(words({})) == "seven"
                assert fetch_one(FIND({"name": NAME})) is None
            assert len(waits) == 2
            with autocommit() as connection:
                prepared = connection.exec_driver_sql("SELECT name FROM pg_prepared_statements").scalars().all()
            assert {words.name, FIND.name} <= set(prepared), "the engine still uses prepared statements"
    finally:
        with app.app_context(), db.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE words")


def test_an_existing_prepared_statement_is_used(app: Flask) -> None:
    with app.app_context(), unit_of_work():
        with autocommit() as connection:
            connection.exec_driver_sql("DEALLOCATE ALL")
            connection.connection.info.clear()
            connection.exec_driver_sql(FIND.prepare)

        assert fetch_one(FIND({"name": "ROLE_PORTAL_USER"})) == "ROLE_PORTAL_USER"
