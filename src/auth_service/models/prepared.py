"""Statements that requests run all the time: planned once a connection, and sent in one round trip.

Making a plan costs PostgreSQL more than carrying it out, and a connection, an execution context and a result of
SQLAlchemy's cost more than what psycopg2 does for one row. Such a statement is still written in Core, and its errors
still go the way of all errors of SQLAlchemy, with everything that listens to them.

The look-up by address, in µs of one processor: 128 here and 130 in PostgreSQL before, 70 and 56 after.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, Executable
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import psycopg2

log = logging.getLogger(__name__)

NO_SUCH_STATEMENT, TWICE, PLAN_OUTDATED = "26000", "42P05", "0A000"
"""What PostgreSQL says of a prepared statement (SQLSTATE); whoever hears the first or the last has done nothing."""

PREFIX = "auth_"
"""How the names of our statements begin."""

TRIES = 2
"""As planned, and planned anew; whatever is still refused is asked unprepared."""

_NUMBERED = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_NAMED = psycopg2.dialect()  # type: ignore[no-untyped-call]

_unprepared: WeakSet[Engine] = WeakSet()
"""Databases behind a pooler that changes the session from one transaction to the next, so that none keeps its plans."""

Row = tuple[Any, ...]
Values = Mapping[str, Any]


class Prepared:
    """A statement of Core whose values are sent as psycopg2 adapts them.

    Lists that are expanded, and defaults of columns that are made on this side, are for Core's own way of executing.
    """

    def __init__(self, statement: Executable) -> None:
        """Its bound parameters without a value are those that each execution has to give."""
        numbered = statement.compile(dialect=_NUMBERED)  # type: ignore[attr-defined] # mypy knows no element here
        binds = [numbered.binds[name] for name in numbered.positiontup]
        types = [bind.type.compile(dialect=_NUMBERED) for bind in binds]
        # Two releases may share the sessions of a pooler: the name is that of the text, so it is never another text.
        self.name = f"{PREFIX}{hashlib.sha256(numbered.string.encode()).hexdigest()[:16]}"
        self.prepare = f"PREPARE {self.name}{_in_brackets(types)} AS {numbered.string}"
        # What is always the same is written down once; having psycopg2 write each value takes it a microsecond.
        given = [
            f"%({bind.key})s" if bind.required else numbered.render_literal_bindparam(bind).replace("%", "%%")
            for bind in binds
        ]
        self.execute = f"EXECUTE {self.name}{_in_brackets(given)}"
        named = statement.compile(dialect=_NAMED)  # type: ignore[attr-defined]
        self.plain = str(named)
        self._constants = {name: value for name, value in named.params.items() if not named.binds[name].required}

    def all_values(self, given: Values) -> Values:
        """The values of one execution of the plain statement."""
        return {**self._constants, **given}


def _in_brackets(words: Sequence[str]) -> str:
    return f" ({', '.join(words)})" if words else ""


Step = tuple[Prepared, Values]


def run(engine: Engine, steps: Sequence[Step]) -> list[Row]:
    """Run statements as one transaction of their own, in one round trip; returns the rows of the last."""
    dbapi_error = engine.dialect.loaded_dbapi.Error
    try:
        lent = engine.raw_connection()
    except dbapi_error as error:
        Connection._handle_dbapi_exception_noconnection(error, engine.dialect, engine)  # noqa: SLF001 - see below
        raise
    driver: Any = lent.dbapi_connection
    # The driver's own switch, which asks the server nothing. Several statements in one message are one transaction of
    # the server's, which it commits before it answers.
    driver.autocommit = True
    cursor = driver.cursor()
    try:
        for _ in range(TRIES):
            if engine in _unprepared:
                break
            try:
                return _prepared(cursor, lent.info, steps)
            except dbapi_error as error:
                if error.pgcode == NO_SUCH_STATEMENT:
                    log.warning("prepared statements do not last here, so there will be none")
                    _unprepared.add(engine)
                elif error.pgcode == PLAN_OUTDATED:
                    _forget(cursor, lent.info)
                else:
                    raise
        return _rows(cursor, [cursor.mogrify(step.plain, step.all_values(given)) for step, given in steps])
    except dbapi_error as error:
        # What SQLAlchemy does with an error of its own executions: tell the listeners, drop connections that died, and
        # raise it as one of SQLAlchemy's. There is no public way to ask for it.
        Connection(engine, lent)._handle_dbapi_exception(error, steps[-1][0].plain, None, cursor, None)  # noqa: SLF001
        raise
    finally:
        if not driver.closed:
            cursor.close()
            driver.autocommit = False
        if lent.is_valid:
            lent.close()


def run_within(connection: Connection, steps: Sequence[Step]) -> list[Row]:
    """Run statements in the transaction of a connection; returns the rows of the last.

    Unprepared, since a plan that is gone would cost the whole transaction.
    """
    *before, (last, given) = steps
    for step, values in before:
        connection.exec_driver_sql(step.plain, step.all_values(values))
    result = connection.exec_driver_sql(last.plain, last.all_values(given))
    return [tuple(row) for row in result] if result.returns_rows else []


def _prepared(cursor: Any, known: dict[Any, Any], steps: Sequence[Step]) -> list[Row]:
    for step, _ in steps:
        if step.name not in known:  # forgotten together with the connection
            try:
                cursor.execute(step.prepare)
            except Exception as error:
                if getattr(error, "pgcode", None) != TWICE:
                    raise
            known[step.name] = True
    return _rows(cursor, [cursor.mogrify(step.execute, given) for step, given in steps])


def _forget(cursor: Any, known: dict[Any, Any]) -> None:
    """Let a connection prepare everything anew: a migration changed what one statement returns, perhaps others too."""
    cursor.execute("DEALLOCATE ALL")
    for name in [name for name in known if str(name).startswith(PREFIX)]:
        del known[name]


def _rows(cursor: Any, statements: Sequence[bytes]) -> list[Row]:
    cursor.execute(b";\n".join(statements))
    rows: list[Row] = cursor.fetchall() if cursor.description else []
    return rows
