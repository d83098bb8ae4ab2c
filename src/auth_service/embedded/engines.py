"""Embedded engines: PostgreSQL and a Redis-compatible server from wheels, for the `local` and `test` profiles."""

import fcntl
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Self

from auth_service.embedded.postgres import Postgres
from auth_service.embedded.private_files import open_private, write_private
from auth_service.embedded.processes import EngineError
from auth_service.embedded.redis import Redis
from auth_service.embedded.server import Server

__all__ = ["EngineError", "Engines", "Postgres", "Redis", "Server", "running"]

_logger = logging.getLogger(__name__)

LOCK_PATIENCE = 30.0
"""Seconds to wait while another process starts or stops the engines of the same folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engines:
    """PostgreSQL and Valkey, both running and reachable."""

    data_dir: Path
    postgres: Postgres
    redis: Redis
    borrowed: bool
    """Whether another process started the engines and will stop them."""

    @property
    def servers(self) -> tuple[Server, Server]:
        """Both servers."""
        return self.postgres, self.redis

    @property
    def database_url(self) -> str:
        """`postgresql+psycopg2://auth:…@127.0.0.1:PORT/auth`"""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """`redis://:…@127.0.0.1:PORT/0`"""
        return self.redis.url


Progress = Callable[[str], AbstractContextManager[Callable[[str], None]]]
"""Reports a step: entered with its name when it begins, and called with its result."""


@contextmanager
def silently(name: str) -> Iterator[Callable[[str], None]]:
    """Report nothing."""
    results: list[str] = []
    yield results.append


@contextmanager
def running(
    *,
    data_dir: Path,
    durable: bool = True,
    patience: float = LOCK_PATIENCE,
    progress: Progress = silently,
) -> Iterator[Engines]:
    """Run both engines of `data_dir`: start and stop them, or borrow them from the process that already runs them.

    `data_dir` is created if it does not exist. It contains the databases, their logs, `access.json` with ports and
    passwords, and, while the engines run, `engines.json` with URLs and pids. Ports stay the same over restarts unless
    another process uses them. `durable=False` is faster, but a killed server may lose committed data; it has no effect
    on borrowed engines. `patience` limits the wait for another process that starts or stops the engines, in seconds.

    Call this from the main thread: Linux ends the engines with the thread that started them. They run in sessions of
    their own, so Ctrl-C in a terminal reaches only the caller. If the caller is killed, Linux ends the engines; on
    other systems the next call does.

    Raises `EngineError` if the wheels are missing or a server does not start, with the end of its log.
    """
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"DATA_DIR: {error.filename} cannot be used: {error.strerror}") from None
    with open_private(data_dir / "engines.lock") as lock:
        if not _acquire_lock(lock, data_dir=data_dir, patience=patience):
            yield _engines(_Access.load(data_dir), data_dir=data_dir, durable=durable, borrowed=True)
            return
        owner = os.getpid()
        stack = ExitStack()
        try:
            yield _start(stack, data_dir=data_dir, durable=durable, progress=progress)
        finally:
            # A forked worker that exits through here must not stop the engines of its parent.
            if os.getpid() == owner:
                stack.close()


def _start(stack: ExitStack, *, data_dir: Path, durable: bool, progress: Progress) -> Engines:
    """Start both engines; closing `stack` stops them."""
    announcement = data_dir / "engines.json"
    announcement.unlink(missing_ok=True)
    access = _Access.load(data_dir)
    for server in _engines(access, data_dir=data_dir, durable=durable).servers:
        server.stop()  # a killed owner may have left it running, and it uses the ports
    access = access.with_free_ports()
    write_private(data_dir / "access.json", json.dumps(asdict(access), indent=2))
    engines = _engines(access, data_dir=data_dir, durable=durable)
    with progress("PostgreSQL") as done:
        for server in engines.servers:
            stack.callback(server.stop)
            server.launch()
        engines.postgres.wait()  # after both launches, so that they start concurrently
        done(f"127.0.0.1:{engines.postgres.port}")
    with progress("Redis") as done:
        engines.redis.wait()
        done(f"127.0.0.1:{engines.redis.port}")
    stack.callback(announcement.unlink, missing_ok=True)
    description = {
        "owner": os.getpid(),
        "database_url": engines.database_url,
        "redis_url": engines.redis_url,
        "postgres_pid": engines.postgres.pid,
        "redis_pid": engines.redis.pid,
    }
    write_private(announcement, json.dumps(description, indent=2))
    return engines


def _acquire_lock(lock: IO[bytes], *, data_dir: Path, patience: float) -> bool:
    """Lock the folder; False if another process holds the lock and its engines run.

    Raises EngineError if neither happens within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if _announced(data_dir / "engines.json"):
            _logger.info("using the engines that another process runs in %s", data_dir)
            return False
        if time.monotonic() > deadline:
            raise EngineError(
                f"Another process holds {data_dir / 'engines.lock'}, but its engines did not answer "
                f"within {patience:.0f} s."
            )
        time.sleep(0.05)


def _announced(announcement: Path) -> bool:
    """Whether the process that `engines.json` names is alive; a killed process leaves the file behind."""
    try:
        os.kill(json.loads(announcement.read_text())["owner"], 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class _Access:
    """Ports and passwords of the engines, stored in `access.json`. Port 0 means that a free port has to be chosen."""

    superuser_password: str = field(repr=False)
    database_password: str = field(repr=False)
    redis_password: str = field(repr=False)
    postgres_port: int = 0
    redis_port: int = 0

    @classmethod
    def load(cls, data_dir: Path) -> Self:
        """Read the file of the folder, or generate passwords if there is none."""
        try:
            return cls(**json.loads((data_dir / "access.json").read_text()))
        except FileNotFoundError:
            return cls(
                superuser_password=secrets.token_urlsafe(32),
                database_password=secrets.token_urlsafe(32),
                redis_password=secrets.token_urlsafe(32),
            )
        except (ValueError, TypeError):
            raise EngineError(f"{data_dir / 'access.json'} is damaged; delete {data_dir} to start empty") from None

    def with_free_ports(self) -> Self:
        """Return a copy with the same passwords, and with free ports instead of ports that other processes use."""
        postgres_port, redis_port = _free_ports(self.postgres_port, self.redis_port)
        return replace(self, postgres_port=postgres_port, redis_port=redis_port)


def _engines(access: _Access, *, data_dir: Path, durable: bool, borrowed: bool = False) -> Engines:
    return Engines(
        data_dir=data_dir,
        postgres=Postgres(
            data_dir=data_dir,
            durable=durable,
            port=access.postgres_port,
            password=access.database_password,
            superuser_password=access.superuser_password,
        ),
        redis=Redis(data_dir=data_dir, durable=durable, port=access.redis_port, password=access.redis_password),
        borrowed=borrowed,
    )


def _free_ports(*ports: int) -> list[int]:
    """Return the ports of 127.0.0.1, with a free port instead of each port that is 0 or in use."""
    with ExitStack() as sockets:
        return [sockets.enter_context(_bind(port)).getsockname()[1] for port in ports]


def _bind(port: int) -> socket.socket:
    probe = socket.socket()
    # The servers set this option, too: connections in TIME_WAIT from the last run do not block a port.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port != 0))
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        probe.close()
        probe = socket.socket()
        probe.bind(("127.0.0.1", 0))
    return probe
