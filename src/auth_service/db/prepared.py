"""Prepared statements: Core statements with typed parameters and rows, sent to PostgreSQL several in one message.

PostgreSQL takes longer to plan a short statement than to run it. SQLAlchemy takes longer for its connection, execution
context and result than psycopg2 takes for a row. Therefore a statement is written in Core, compiled at import, planned
once per connection, and sent through the driver of a pooled connection (decision 15).
"""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar
from weakref import WeakSet

from sqlalchemy import Engine, Executable
from sqlalchemy.dialects import postgresql

log = logging.getLogger(__name__)

NO_SUCH_STATEMENT, ALREADY_PREPARED, PLAN_OUTDATED = "26000", "42P05", "0A000"
"""SQLSTATEs about prepared statements. PostgreSQL has executed nothing when it reports the first or the last one."""

READ_ONLY = "25006"
"""SQLSTATE of a write that the server refuses, because it is a standby or its operator made it read-only."""

PREFIX = "auth_"
"""The prefix of the names of prepared statements."""

TRIES = 2
"""One attempt with the existing plans and one with new plans; if both fail, the statements are sent unprepared."""

_NUMBERED = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_PLACEHOLDER = re.compile(r"\$(\d+)")

_unprepared: WeakSet[Engine] = WeakSet()
"""Engines behind a connection pooler in transaction mode: server sessions change, so prepared plans are lost."""

P = TypeVar("P", bound=Mapping[str, object])
R = TypeVar("R")

Row = tuple[Any, ...]


class NoParameters(TypedDict):
    """The type of the parameters of a statement without parameters."""


class Statement(Generic[P, R]):
    """A Core statement with typed parameters (a TypedDict) and a class or function that converts each row.

    Column defaults that SQLAlchemy computes in Python, and lists that it expands (`IN`), are not supported.
    """

    def __init__(self, core: Executable, *, parameters: type[P], row: Callable[..., R], prepared: bool = True) -> None:
        """Compile the statement.

        Statements of requests are `prepared`; the others are planned at each execution, with the values of their
        parameters. Raises TypeError unless `parameters` names exactly the bound parameters of `core` that have no
        value, and for a column whose default SQLAlchemy would compute at each execution.
        """
        compiled = core.compile(dialect=_NUMBERED)  # type: ignore[attr-defined] # every Executable of Core compiles
        if computed := [column.name for column in (*compiled.insert_prefetch, *compiled.update_prefetch)]:
            raise TypeError(f"the statement must set {computed}: their defaults would be computed in Python")
        binds = [compiled.binds[name] for name in compiled.positiontup]
        types = [bind.type.compile(dialect=_NUMBERED) for bind in binds]
        declared: frozenset[str] = parameters.__required_keys__  # type: ignore[attr-defined] # P is a TypedDict
        if declared != (required := {bind.key for bind in binds if bind.required}):
            raise TypeError(f"{parameters.__name__} names {sorted(declared)}, the statement has {sorted(required)}")
        self.row = row
        self.prepared = prepared
        # A parameter that already has a value is the same in each execution, so it becomes a literal.
        values = [
            f"%({bind.key})s" if bind.required else compiled.render_literal_bindparam(bind).replace("%", "%%")
            for bind in binds
        ]
        # The name depends on the text, because two releases may share the server sessions of a connection pooler.
        self.name = f"{PREFIX}{hashlib.sha256(compiled.string.encode()).hexdigest()[:16]}"
        self.prepare = f"PREPARE {self.name}{_in_brackets(types)} AS {compiled.string}"
        # The same types as in PREPARE: otherwise PostgreSQL would infer others for literals without a context.
        cast = [f"CAST({value} AS {sql_type})" for value, sql_type in zip(values, types, strict=True)]
        self.plain = _PLACEHOLDER.sub(lambda match: cast[int(match[1]) - 1], compiled.string.replace("%", "%%"))
        self.execute = f"EXECUTE {self.name}{_in_brackets(values)}" if prepared else self.plain

    def __call__(self, values: P) -> "Call[R]":
        """Return the statement with values for its parameters."""
        return Call(self, values)


class Write(Statement[P, None]):
    """A statement whose rows are not needed."""

    def __init__(self, core: Executable, *, parameters: type[P], prepared: bool = True) -> None:
        super().__init__(core, parameters=parameters, row=_no_row, prepared=prepared)


def _no_row(*_: Any) -> None:
    return None


def _in_brackets(items: Sequence[str]) -> str:
    return f" ({', '.join(items)})" if items else ""


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A statement and the values of its parameters."""

    statement: Statement[Any, R]
    values: Mapping[str, object]


class DriverConnection:
    """A pooled connection in autocommit mode of the driver, which sends several statements in one message.

    Raises errors of the driver, and SQLAlchemy's TimeoutError if no connection becomes free.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pooled = engine.raw_connection()
        driver: Any = self._pooled.dbapi_connection
        self._driver = driver
        self._cursor = driver.cursor()
        self._refused_write: Exception | None = None

    def send(
        self, calls: Sequence[Call[Any]], *, before: bytes = b"", after: bytes = b"", first: bool = True
    ) -> list[Row]:
        """Send the SQL `before`, the statements and the SQL `after` in one message; return the rows of the last one.

        `first` means that no transaction is open, so the message can be repeated with new plans. Inside a transaction
        statements are sent unprepared, because the error about a lost plan would abort the transaction.
        """
        mogrify = self._cursor.mogrify
        if first:
            for _ in range(TRIES):
                if self._engine in _unprepared:
                    break
                try:
                    self._prepare(calls)
                    return self._send(
                        [before, *(mogrify(call.statement.execute, call.values) for call in calls), after]
                    )
                except self._engine.dialect.loaded_dbapi.Error as error:
                    if not self._discard_plans(error):
                        raise
        return self._send([before, *(mogrify(call.statement.plain, call.values) for call in calls), after])

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, failed or not, as far as the driver knows: no round trip."""
        return not self._driver.closed and self._driver.info.transaction_status != 0

    @property
    def last_command(self) -> str:
        """The command tag of the last statement, such as `COMMIT`."""
        tag: str = self._cursor.statusmessage
        return tag

    def close(self) -> None:
        """Roll back an open transaction and return the connection to the pool.

        A broken connection is dropped. So is one to a server that refused a write: a new one may reach the new primary.
        """
        if self._refused_write is not None:
            self._pooled.invalidate(self._refused_write)
            return
        if self.in_transaction:
            try:
                self._cursor.execute("ROLLBACK")
            except self._engine.dialect.loaded_dbapi.Error:
                log.warning("a transaction could not be rolled back; its connection is dropped")
                self._pooled.invalidate()
                return
        if self._driver.closed:
            self._pooled.invalidate()
            return
        self._cursor.close()
        self._pooled.close()

    def _prepare(self, calls: Sequence[Call[Any]]) -> None:
        known = self._pooled.info  # SQLAlchemy clears it when it replaces the connection
        for call in calls:
            if not call.statement.prepared or call.statement.name in known:
                continue
            try:
                self._cursor.execute(call.statement.prepare)
            except self._engine.dialect.loaded_dbapi.Error as error:
                if error.pgcode != ALREADY_PREPARED:
                    raise
            known[call.statement.name] = True

    def _discard_plans(self, error: Any) -> bool:
        """Handle an error about prepared plans by discarding them; return False for any other error."""
        if error.pgcode not in (NO_SUCH_STATEMENT, PLAN_OUTDATED):
            return False
        if self.in_transaction:
            self._cursor.execute("ROLLBACK")
        if error.pgcode == NO_SUCH_STATEMENT:
            log.warning("prepared statements are lost between transactions here, so none will be used")
            _unprepared.add(self._engine)
            return True
        # A migration changed the columns that one statement returns, and perhaps those of others.
        self._cursor.execute("DEALLOCATE ALL")
        known = self._pooled.info
        for name in [name for name in known if str(name).startswith(PREFIX)]:
            del known[name]
        return True

    def _send(self, texts: Sequence[bytes]) -> list[Row]:
        try:
            self._cursor.execute(b";\n".join(filter(None, texts)))
        except self._engine.dialect.loaded_dbapi.Error as error:
            if error.pgcode == READ_ONLY:
                self._refused_write = error
            raise
        rows: list[Row] = self._cursor.fetchall() if self._cursor.description else []
        return rows
