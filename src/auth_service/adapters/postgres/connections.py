"""PostgreSQL connections: deadline connection (time limits if the server hangs), pool guard (restarts, failover)."""

import logging
import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from sqlalchemy import URL, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from auth_service import clock
from auth_service.adapters.circuit_breaker import CircuitBreaker
from auth_service.adapters.postgres.diagnosis import diagnose

log = logging.getLogger(__name__)

STATEMENT = timedelta(milliseconds=1200)
LOCK = timedelta(milliseconds=1000)
IDLE_IN_TRANSACTION = timedelta(seconds=5)
"""Time limits that the server enforces: for a statement, a wait for a lock, and a pause inside a transaction."""
CONNECT = timedelta(seconds=5)
"""Time limit for each step of connecting for migrations and maintenance."""
POOL_WAIT = timedelta(seconds=1)
"""How long a request waits for a connection of the pool."""
ANSWER = timedelta(milliseconds=1500)
"""Time limit for any answer of the server, connecting included. Longer than STATEMENT, so that a slow server can report
its own timeout; shorter than two seconds, within which the API answers during every fault."""
OPEN_FOR = timedelta(milliseconds=500)
"""How long the circuit breaker stays open after the server did not answer."""
READ_ONLY_FOR = timedelta(seconds=2)
"""How long a connection to a server that accepts no writes is used: a new one may find the new primary (failover)."""

PRIMARIES = frozenset({"read-write", "primary"})
"""Values of `target_session_attrs` that refuse a server which accepts no writes."""

Server = dict[str, str]
"""The connection options that select one server of the URL; empty if libpq selects it."""

_MS = timedelta(milliseconds=1)


class NoAnswer(psycopg2.OperationalError):
    """The server did not answer within the time limit."""


class CircuitOpen(psycopg2.OperationalError):
    """The server was not contacted, because it did not answer a moment ago (circuit breaker)."""


class DeadlineConnection(psycopg2.extensions.connection):
    """A connection that waits a limited time for every answer of the server.

    The server enforces statement_timeout, but a stopped server or a network that drops packets does not; libpq alone
    would wait forever.
    """

    answer_within: float | None = ANSWER.total_seconds()
    on_timeout: Callable[[], None] | None = None
    """Called if the server does not answer in time."""
    opened_at: float = float("-inf")
    """When the connection was opened, in monotonic seconds."""
    is_unused: bool = False

    @property
    def is_read_only(self) -> bool:
        """Whether the server has reported that it accepts no writes: a standby, or read-only by its settings.

        PostgreSQL reports changes with the answer to the next statement, so this is no round trip.
        """
        reported = self.info.parameter_status
        return "on" in (reported("in_hot_standby"), reported("default_transaction_read_only"))


def _wait(connection: psycopg2.extensions.connection) -> None:
    """Wait for the server like the loop of psycopg2, but at most as long as the time limit of the connection."""
    # Each poll gets the whole time limit: a server that sends a long result in pieces does answer.
    limit = getattr(connection, "answer_within", None)
    milliseconds = None if limit is None else limit * 1000
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        events = select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        poller = select.poll()
        poller.register(connection.fileno(), events)
        if not poller.poll(milliseconds):
            if (on_timeout := getattr(connection, "on_timeout", None)) is not None:
                on_timeout()
            raise NoAnswer("the server did not answer in time")


psycopg2.extensions.set_wait_callback(_wait)


def engine_options(url: str, *, connections: int) -> dict[str, Any]:
    """Keyword arguments for `create_engine`: a pool of a fixed size and all time limits.

    What the URL or the environment of libpq (PGOPTIONS, PGAPPNAME) says takes precedence. The pool has no overflow:
    opening and closing connections under load costs more than waiting for one.
    """
    limits = {
        "statement_timeout": STATEMENT,
        "lock_timeout": LOCK,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    }
    return {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": POOL_WAIT.total_seconds(),
        "pool_use_lifo": True,
        # The unit of work sends BEGIN and COMMIT itself, in the same round trip as its statements.
        "isolation_level": "AUTOCOMMIT",
        "connect_args": {
            "connection_factory": DeadlineConnection,
            "options": _options(url, *(f"-c {name}={limit // _MS}" for name, limit in limits.items())),
            **_defaults(url, keepalives_idle=5, keepalives_interval=2, keepalives_count=2, tcp_user_timeout=5000),
        },
    }


def _options(url: str, *defaults: str) -> str:
    """Return the startup parameter `options`: the defaults, then the options of the operator, which override them.

    PostgreSQL uses the last value of each name. The time zone comes last, so the operator cannot change it: the service
    prints and compares instants in UTC.
    """
    configured = make_url(url).query.get("options", os.environ.get("PGOPTIONS", ""))
    return " ".join([*defaults, *([configured] if isinstance(configured, str) else configured), "-c timezone=UTC"])


def _defaults(url: str, **values: int) -> dict[str, str | int]:
    """Return default parameters of libpq, without those that the URL sets.

    The name is only a fallback, so that PGAPPNAME overrides it as well.
    """
    in_url = make_url(url).query
    all_values: dict[str, str | int] = {"fallback_application_name": "auth-service", **values}
    return {name: value for name, value in all_values.items() if name not in in_url}


class Connector:
    """Failover: connects to the first server of a URL that accepts writes; while none does, to one that serves reads.

    libpq would spend the whole time limit on a frozen server and never reach the next one. So each server gets a share
    of the limit, and the server of the last successful connection is tried first.
    """

    def __init__(self) -> None:
        self._last: Server | None = None

    def connect(self, dialect: Dialect, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Open a connection. Raises OperationalError of the driver."""
        servers = sorted(_servers(options), key=lambda server: server != self._last)
        required = options.get("target_session_attrs", "any")
        error = psycopg2.OperationalError("no server is named")
        for attributes in (required, "any") if required in PRIMARIES else (required,):
            for server in tuple(servers):
                try:
                    connection = self._open(dialect, arguments, options | server, attributes, shared_by=len(servers))
                except psycopg2.OperationalError as failure:
                    error = failure
                    if isinstance(failure, NoAnswer):
                        servers.remove(server)
                    continue
                if attributes == required:
                    self._last = server
                return connection
        raise error

    @staticmethod
    def _open(
        dialect: Dialect, arguments: list[Any], options: dict[str, Any], attributes: str, *, shared_by: int
    ) -> Any:
        options = options | {"target_session_attrs": attributes}
        if shared_by > 1:
            # The time limit of the class applies while the connection is opened, that of the instance afterwards.
            share = {"answer_within": ANSWER.total_seconds() / shared_by}
            options["connection_factory"] = type("SharedDeadlineConnection", (options["connection_factory"],), share)
        connection = dialect.connect(*arguments, **options)
        connection.answer_within = ANSWER.total_seconds()
        return connection


def _servers(options: dict[str, Any]) -> list[Server]:
    """Return the servers of the connection options.

    One empty entry leaves the selection to libpq: for a single host, for `hostaddr` and for `load_balance_hosts`.
    """
    hosts, ports = (str(options.get(name, "")).split(",") for name in ("host", "port"))
    if len(hosts) == 1 or "hostaddr" in options or options.get("load_balance_hosts", "disable") != "disable":
        return [{}]
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [{"host": host, "port": port} for host, port in zip(hosts, ports, strict=True)]


class PoolGuard:
    """Discards dead connections before a request uses them, and fails immediately while the server hangs.

    Connections to a server that accepts no writes serve reads for a short time (READ_ONLY_FOR). A refused write
    discards all connections that were opened before it.
    """

    def __init__(self, *, breaker: CircuitBreaker) -> None:
        """`breaker` opens when the server cannot be reached or does not answer."""
        self._breaker = breaker
        self._url: URL
        self._suspect_before = float("-inf")
        """Connections that were opened before this instant are discarded: the server hung or refused a write then."""
        self._refused_write_at = float("-inf")
        self._connector = Connector()

    def watch(self, engine: Engine) -> None:
        """Register for the connection events of an engine."""
        self._url = engine.url
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "checkin", self._checked_in)
        event.listen(engine, "invalidate", self._invalidated)

    def _connect(self, dialect: Dialect, _: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]) -> Any:
        self._fail_if_open()
        try:
            return self._connector.connect(dialect, arguments, options)
        except psycopg2.OperationalError as error:
            self._breaker.failed()
            log.warning("postgres cannot be connected", extra={"reason": diagnose(error, url=self._url).text})
            raise

    def _connected(self, connection: DeadlineConnection, _: ConnectionPoolEntry) -> None:
        connection.on_timeout = self._timed_out
        connection.opened_at = clock.monotonic()
        connection.is_unused = True
        self._breaker.succeeded()

    def _timed_out(self) -> None:
        # Only a server that does not answer opens the circuit. A session that ended (an administrator, a failover)
        # says nothing about the next session, and `_checked_out` detects its end.
        self._suspect_before = clock.monotonic()
        self._breaker.failed()

    def _checked_out(self, connection: DeadlineConnection, *_: Any) -> None:
        if connection.is_unused:
            connection.is_unused = False
            return
        # No statement is pending, so readable data means that the session has ended. This check takes two microseconds;
        # a ping would take a round trip.
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        if connection.opened_at < self._suspect_before or poller.poll(0) or _is_outdated(connection):
            raise DisconnectionError
        self._fail_if_open()

    def _checked_in(self, connection: DeadlineConnection | None, _: ConnectionPoolEntry) -> None:
        if connection is not None and not connection.closed:
            self._breaker.succeeded()

    def _invalidated(self, _: DeadlineConnection, __: ConnectionPoolEntry, error: BaseException | None) -> None:
        if not isinstance(error, psycopg2.errors.ReadOnlySqlTransaction):
            return
        now = clock.monotonic()
        if now - self._refused_write_at > READ_ONLY_FOR.total_seconds():  # otherwise it is the same outage
            log.warning("the database accepts no writes")
            self._suspect_before = now
        self._refused_write_at = now

    def _fail_if_open(self) -> None:
        if not self._breaker.allows_call():
            raise CircuitOpen("the server did not answer a moment ago")


class _ConnectDeadline(DeadlineConnection):
    """A connection with a time limit for connecting: libpq ignores connect_timeout because of `_wait`."""

    answer_within = CONNECT.total_seconds()


def _is_outdated(connection: DeadlineConnection) -> bool:
    return connection.is_read_only and clock.monotonic() - connection.opened_at > READ_ONLY_FOR.total_seconds()


@contextmanager
def maintenance_engine(url: str) -> Iterator[Engine]:
    """Yield an engine for migrations and maintenance: one connection at a time, without time limits once connected."""
    arguments = {"connection_factory": _ConnectDeadline, "options": _options(url), **_defaults(url)}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def connected(connection: DeadlineConnection, _: ConnectionPoolEntry) -> None:
        connection.answer_within = None

    try:
        yield engine
    finally:
        engine.dispose()
