"""Database transactions: atomicity, few round trips, and connections that can be lost at any moment."""

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


class RollsBack(Conflict):
    """An error that rolls back."""

    code = "forgets"
    message = "Send something else."


class Commits(RollsBack):
    """An error that commits."""

    commit_on_raise = True


@pytest.fixture(autouse=True)
def _prepared(app: Flask) -> None:
    """Prepare the statements, once for each connection, and delete the roles that a test adds."""
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


def test_a_returned_row_costs_one_round_trip_and_the_commit_another(app: Flask) -> None:
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


def test_a_read_sees_earlier_writes_of_the_transaction(app: Flask) -> None:
    with app.app_context(), unit_of_work():
        transaction().write(ADD({"name": NAME}))
        assert fetch_one(FIND({"name": NAME})) == NAME


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("sent", [False, True], ids=["collected", "sent"])
def test_all_writes_are_committed_or_none(app: Flask, before: int, sent: bool) -> None:
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


@pytest.mark.parametrize(("error", "stays"), [(RollsBack, False), (Commits, True)])
@pytest.mark.parametrize("sent", [False, True], ids=["collected", "sent"])
def test_an_error_rolls_back_unless_it_has_commit_on_raise(
    app: Flask, error: type[Conflict], stays: bool, sent: bool
) -> None:
    def write_and_raise() -> None:
        with unit_of_work():
            transaction().write(ADD({"name": NAME}))
            if sent:
                transaction().fetch_one(ADD({"name": OTHER}))
            raise error

    with app.app_context():
        with pytest.raises(error):
            write_and_raise()
        assert (NAME in roles()) is stays


def test_a_violated_unique_constraint_is_reported_by_its_name(app: Flask) -> None:
    def add_twice() -> None:
        with unit_of_work():
            transaction().write(ADD({"name": NAME}))
            transaction().fetch_one(ADD({"name": NAME}))

    with app.app_context():
        with pytest.raises(UniqueViolation):
            add_twice()
        assert NAME not in roles()


def test_a_transaction_with_a_caught_failure_cannot_be_committed(app: Flask) -> None:
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


def test_a_server_that_ends_after_its_answer_does_not_fail_the_read(app: Flask, stores: Stores) -> None:
    with app.app_context():
        with unit_of_work(), autocommit() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            end_session(stores, pid)

        assert own_pid() != pid


def test_a_server_that_ends_before_its_answer_is_unavailable(app: Flask, stores: Stores) -> None:
    def read_twice() -> None:
        with unit_of_work(), autocommit() as connection:
            end_session(stores, connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            connection.execute(text("SELECT 1"))

    with app.app_context():
        before = own_pid()
        with pytest.raises(DatabaseUnavailable):
            read_twice()

        assert own_pid() != before


def test_a_transaction_whose_server_ends_is_unavailable_and_writes_nothing(app: Flask, stores: Stores) -> None:
    backend_pid = Statement(select(literal_column("pg_backend_pid()")), parameters=NoParameters, row=int)

    def write_twice() -> None:
        with unit_of_work():
            transaction().fetch_one(ADD({"name": NAME}))
            end_session(stores, transaction().fetch_one(backend_pid({})) or 0)
            transaction().write(ADD({"name": OTHER}))

    with app.app_context():
        with pytest.raises(DatabaseUnavailable):
            write_twice()
        assert NAME not in roles()
