"""Unit of work: one transaction, few round trips, over connections that may die at any moment."""

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import bindparam, delete, insert, literal_column, select, text

from auth_service.db import (
    NoParameters,
    Statement,
    UniqueViolation,
    Write,
    autocommit,
    fetch_one,
    transaction,
    unit_of_work,
)
from auth_service.errors import Conflict, DatabaseUnavailable
from auth_service.models import Role
from tests.support.connections import end_session, own_pid
from tests.support.roles import ADD, DROP, FIND, NAME, OTHER, roles
from tests.support.round_trips import counted
from tests.support.stores import Stores

FAIL = Write(select(literal_column("1/0")), parameters=NoParameters)


class Forgets(Conflict):
    """An error that rolls back."""

    code = "forgets"
    message = "Send something else."


class Keeps(Forgets):
    """An error that commits."""

    commit_on_raise = True


@pytest.fixture(autouse=True)
def _prepared(app: Flask) -> None:
    """Statements are prepared once a connection; a test begins with that done, and without the roles that it adds."""
    with app.app_context(), unit_of_work():
        fetch_one(FIND({"name": NAME}))
        for name in (NAME, OTHER):
            transaction().write(DROP({"name": name}))
        transaction().fetch_one(ADD({"name": NAME}))
        transaction().write(DROP({"name": NAME}))


def test_a_read_is_one_round_trip(app: Flask) -> None:
    with app.app_context(), counted() as waits:
        own_pid()
        with unit_of_work():
            fetch_one(FIND({"name": NAME}))

    assert len(waits) == 2


def test_writes_without_rows_are_one_round_trip_however_many(app: Flask) -> None:
    with app.app_context(), counted() as waits, unit_of_work():
        for _ in range(5):
            transaction().write(DROP({"name": NAME}))

    assert len(waits) == 1


def test_a_row_that_is_needed_costs_one_round_trip_and_the_commit_another(app: Flask) -> None:
    with app.app_context(), counted() as waits, unit_of_work():
        transaction().write(DROP({"name": OTHER}))
        assert transaction().fetch_one(ADD({"name": NAME})) == NAME
        transaction().write(DROP({"name": OTHER}))

    assert len(waits) == 2
    with app.app_context():
        assert NAME in roles()


def test_a_unit_of_work_that_writes_nothing_costs_nothing(app: Flask) -> None:
    with app.app_context(), counted() as waits, unit_of_work():
        pass

    assert waits == []


def test_a_read_sees_what_was_written_before(app: Flask) -> None:
    with app.app_context(), unit_of_work():
        transaction().write(ADD({"name": NAME}))
        assert fetch_one(FIND({"name": NAME})) == NAME


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("sent", [False, True], ids=["collected", "sent"])
def test_all_writes_or_none(app: Flask, before: int, sent: bool) -> None:
    def write_and_fail() -> None:
        with unit_of_work():
            for position, name in enumerate((NAME, OTHER)):
                if position == before:
                    transaction().write(FAIL({}))
                if sent:
                    transaction().fetch_one(ADD({"name": name}))
                else:
                    transaction().write(ADD({"name": name}))
            if before == 2:
                transaction().write(FAIL({}))

    with app.app_context():
        there = roles()
        with pytest.raises(psycopg2.errors.DivisionByZero):
            write_and_fail()
        assert roles() == there


@pytest.mark.parametrize(("error", "stays"), [(Forgets, False), (Keeps, True)])
@pytest.mark.parametrize("sent", [False, True], ids=["collected", "sent"])
def test_an_error_keeps_what_was_written_only_where_it_says_so(
    app: Flask, error: type[Conflict], stays: bool, sent: bool
) -> None:
    def refuse() -> None:
        with unit_of_work():
            transaction().write(ADD({"name": NAME}))
            if sent:
                transaction().fetch_one(ADD({"name": OTHER}))
            raise error

    with app.app_context():
        with pytest.raises(error):
            refuse()
        assert (NAME in roles()) is stays


def test_a_unique_constraint_has_a_name_of_its_own(app: Flask) -> None:
    def add_twice() -> None:
        with unit_of_work():
            transaction().write(ADD({"name": NAME}))
            transaction().fetch_one(ADD({"name": NAME}))

    with app.app_context():
        with pytest.raises(UniqueViolation):
            add_twice()
        assert NAME not in roles()


def test_a_failure_that_was_caught_cannot_be_committed(app: Flask) -> None:
    def swallow() -> None:
        with unit_of_work():
            try:
                transaction().fetch_one(Statement(select(literal_column("1/0")), parameters=NoParameters, row=int)({}))
            except psycopg2.errors.DivisionByZero:
                return

    with app.app_context(), pytest.raises(RuntimeError, match="rolled back"):
        swallow()


def test_a_write_needs_a_unit_of_work() -> None:
    with pytest.raises(RuntimeError, match="unit of work"):
        transaction()


def test_a_statement_names_its_parameters() -> None:
    with pytest.raises(TypeError, match="name"):
        Write(delete(Role).where(Role.name == bindparam("name")), parameters=NoParameters)


def test_a_statement_computes_no_defaults() -> None:
    from auth_service.models import User

    with pytest.raises(TypeError, match="id"):
        Write(insert(User).values(email="a@example.org", email_key="a@example.org"), parameters=NoParameters)


def test_a_server_that_dies_after_its_answer_spoils_nothing(app: Flask, stores: Stores) -> None:
    with app.app_context():
        with unit_of_work(), autocommit() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            end_session(stores, pid)

        assert own_pid() != pid


def test_a_server_that_dies_before_its_answer_is_unavailable(app: Flask, stores: Stores) -> None:
    def ask_twice() -> None:
        with unit_of_work(), autocommit() as connection:
            end_session(stores, connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            connection.execute(text("SELECT 1"))

    with app.app_context():
        before = own_pid()
        with pytest.raises(DatabaseUnavailable):
            ask_twice()

        assert own_pid() != before


def test_a_transaction_whose_server_dies_is_unavailable_and_leaves_nothing(app: Flask, stores: Stores) -> None:
    who = Statement(select(literal_column("pg_backend_pid()")), parameters=NoParameters, row=int)

    def write_twice() -> None:
        with unit_of_work():
            transaction().fetch_one(ADD({"name": NAME}))
            end_session(stores, transaction().fetch_one(who({})) or 0)
            transaction().write(ADD({"name": OTHER}))

    with app.app_context():
        with pytest.raises(DatabaseUnavailable):
            write_twice()
        assert NAME not in roles()
