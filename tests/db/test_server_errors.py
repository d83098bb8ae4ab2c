"""Errors of PostgreSQL (SQLSTATE): which are unavailability, which mean a read-only server, and which are bugs."""

from collections.abc import Callable, Iterator
from typing import TypedDict

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import Text, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError

from auth_service.db import Statement, UniqueViolation, autocommit, fetch_one, transaction, unit_of_work
from auth_service.errors import DatabaseReadOnly, DatabaseUnavailable
from tests.support.application import forget
from tests.support.connections import own_pid
from tests.support.stores import Query

Access = Callable[[str], None]

UNAVAILABLE = {
    "08006": "connection failure",
    "25P03": "idle in transaction for too long",
    "25P04": "transaction for too long",
    "40001": "conflict with recovery on a standby",
    "40P01": "deadlock",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55000": "recovery is in progress",
    "55P03": "lock timeout",
    "57014": "statement timeout",
    "57P01": "administrator, or conflict with recovery",
    "57P02": "crash of another process",
    "57P03": "starting, stopping or in recovery",
    "57P04": "database dropped",
    "57P05": "idle for too long",
    "58030": "input or output error",
}


class Code(TypedDict):
    """The parameter of the statement."""

    code: str


RAISE = Statement(select(func.raise_error(bindparam("code", type_=Text))), parameters=Code, row=str, prepared=False)


@pytest.fixture
def context(app: Flask, query: Query) -> Iterator[Flask]:
    """The context of the application, over a database with a function that raises any error."""
    query(
        "CREATE FUNCTION raise_error(code text) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'simulated' USING ERRCODE = code; END $$"
    )
    forget(app)
    with app.app_context():
        yield app
    query("DROP FUNCTION raise_error")


def write(code: str) -> None:
    """Raise the error in a unit of work."""
    with unit_of_work():
        transaction().write(RAISE({"code": code}))


def read(code: str) -> None:
    """Raise the error in a prepared read."""
    fetch_one(RAISE({"code": code}))


def read_by_sqlalchemy(code: str) -> None:
    """Raise the error in a connection of SQLAlchemy."""
    with autocommit() as connection:
        connection.execute(text("SELECT raise_error(:code)"), {"code": code})


@pytest.mark.parametrize("path", [write, read, read_by_sqlalchemy])
@pytest.mark.parametrize("code", UNAVAILABLE)
def test_an_error_of_the_server_is_unavailability(context: Flask, path: Access, code: str) -> None:
    with pytest.raises(DatabaseUnavailable) as error:
        path(code)
    assert (error.value.code, error.value.retry_after) == ("database_away", 1)


@pytest.mark.parametrize("path", [write, read])
def test_a_refused_write_is_named_and_discards_the_connection(context: Flask, path: Access) -> None:
    before = own_pid()
    with pytest.raises(DatabaseReadOnly) as error:
        path("25006")
    assert (error.value.code, error.value.retry_after) == ("database_read_only", 1)
    assert own_pid() != before


def test_other_errors_keep_the_connection(context: Flask) -> None:
    before = own_pid()
    with pytest.raises(UniqueViolation):
        write("23505")
    assert own_pid() == before


@pytest.mark.parametrize("code", ["42P01", "42501", "22003", "XX000"])
def test_bugs_are_no_unavailability(context: Flask, code: str) -> None:
    with pytest.raises((psycopg2.Error, DBAPIError)):
        write(code)
    with pytest.raises((psycopg2.Error, DBAPIError)):
        read_by_sqlalchemy(code)
