"""Statements that are prepared: one round trip, the same errors, and no harm where a pooler forgets them."""

import logging
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import bindparam, delete, insert, select, text

from auth_service.errors import DatabaseAway
from auth_service.models import Prepared, Role, db, read_at_once, reading, unit_of_work, writing, written_at_once
from tests.conftest import Stores
from tests.models.test_work import end_session, own_pid
from tests.round_trips import counted

NAME = "ROLE_OF_A_TEST"
WHO = Prepared(select(text("pg_backend_pid()")))
FIND = Prepared(select(Role.name).where(Role.name == bindparam("name")))
ADD = Prepared(insert(Role).values(name=bindparam("name")).returning(Role.name))
DROP = Prepared(delete(Role).where(Role.name == bindparam("name")))


def roles() -> set[str]:
    with reading() as connection:
        return set(connection.execute(select(Role.name)).scalars())


def test_a_statement_is_one_round_trip_once_it_is_prepared(app: Flask) -> None:
    with app.app_context(), unit_of_work():
        read_at_once(FIND, name=NAME)
        with counted() as waits:
            assert read_at_once(FIND, name=NAME) is None
            assert read_at_once(FIND, name="ROLE_PORTAL_USER") == ("ROLE_PORTAL_USER",)

    assert len(waits) == 2


def test_several_statements_are_one_transaction_in_one_round_trip(app: Flask) -> None:
    add, drop = (ADD, {"name": NAME}), (DROP, {"name": NAME})
    with app.app_context():
        with unit_of_work():
            written_at_once(add, drop)
        with counted() as waits, unit_of_work():
            assert written_at_once(drop, add) == (NAME,)
        assert len(waits) == 1
        assert NAME in roles()

        with pytest.raises(Exception, match="duplicate key"), unit_of_work():
            written_at_once(drop, add, add)
        assert NAME in roles(), "what came before the one that failed is undone"

        with unit_of_work():
            assert written_at_once(drop) is None
        assert NAME not in roles()


def test_what_is_written_at_once_joins_a_transaction_that_has_begun(app: Flask) -> None:
    def write_and_fail() -> None:
        with unit_of_work():
            writing().execute(insert(Role).values(name="ROLE_BEFORE"))
            assert written_at_once((ADD, {"name": NAME})) == (NAME,)
            raise RuntimeError

    with app.app_context():
        before = roles()
        with pytest.raises(RuntimeError):
            write_and_fail()
        assert roles() == before


@pytest.mark.parametrize("then", [writing, lambda: written_at_once((DROP, {"name": NAME}))])
def test_nothing_can_be_written_after_what_was_written_at_once(app: Flask, then: Callable[[], object]) -> None:
    with app.app_context(), unit_of_work():
        written_at_once((DROP, {"name": NAME}))
        with pytest.raises(RuntimeError, match="committed"):
            then()


def test_a_session_that_ended_is_away_and_replaced(app: Flask, stores: Stores) -> None:
    def ask_twice() -> None:
        with unit_of_work():
            read_at_once(FIND, name=NAME)
            # The end of the session comes after the look at the connection, and before the answer.
            written_at_once((Prepared(select(text("pg_terminate_backend(pg_backend_pid(), 5000)"))), {}))

    with app.app_context():
        before = own_pid()
        with pytest.raises(DatabaseAway):
            ask_twice()
        assert own_pid() != before
        end_session(stores, own_pid())
        with unit_of_work():
            assert read_at_once(FIND, name="ROLE_PORTAL_USER") == ("ROLE_PORTAL_USER",)


def test_a_pooler_that_forgets_statements_costs_their_speed_only(
    app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_service.models.prepared._unprepared", set())
    with app.app_context(), unit_of_work():
        read_at_once(FIND, name=NAME)
        with reading() as connection:
            connection.execute(text("DEALLOCATE ALL"))
        with caplog.at_level(logging.WARNING):
            assert written_at_once((DROP, {"name": NAME}), (ADD, {"name": NAME})) == (NAME,)
            assert read_at_once(FIND, name=NAME) == (NAME,)

        with reading() as connection:
            connection.execute(text("DELETE FROM roles WHERE name = :name"), {"name": NAME})
    assert "do not last here" in caplog.text


def test_a_migration_that_changes_a_type_costs_one_plan_and_not_all(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    unprepared: set[object] = set()
    monkeypatch.setattr("auth_service.models.prepared._unprepared", unprepared)
    words = Prepared(select(text("word FROM words")))
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE words AS SELECT 'seven'::varchar(9) AS word")
    try:
        with app.app_context(), unit_of_work():
            assert read_at_once(words) == ("seven",)
            with reading() as connection:
                connection.exec_driver_sql("ALTER TABLE words ALTER word TYPE text")

            assert read_at_once(words) == ("seven",)

            assert not unprepared
            read_at_once(FIND, name=NAME)
            with counted() as waits:
                assert read_at_once(words) == ("seven",)
                assert read_at_once(FIND, name=NAME) is None
            assert len(waits) == 2
    finally:
        with app.app_context(), db.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE words")


def test_a_statement_that_is_there_already_is_used(app: Flask) -> None:
    with app.app_context(), unit_of_work():
        with reading() as connection:
            connection.exec_driver_sql("DEALLOCATE ALL")
            connection.connection.info.clear()
            connection.exec_driver_sql(FIND.prepare)

        assert read_at_once(FIND, name="ROLE_PORTAL_USER") == ("ROLE_PORTAL_USER",)
