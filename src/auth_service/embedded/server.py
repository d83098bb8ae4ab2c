"""Base class of embedded servers: start, stop, and the faults that tests inject (kill, freeze)."""

import logging
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from auth_service.embedded import processes
from auth_service.embedded.private_files import open_private
from auth_service.embedded.processes import EngineError

_logger = logging.getLogger(__name__)

START_PATIENCE = 30.0
"""Seconds within which a server has to answer, crash recovery included."""
LOG_TAIL = 20
"""Number of log lines that an error message quotes."""


@dataclass(kw_only=True)
class Server(ABC):
    """An embedded server of one data folder. Its process is found by its command line, whichever process started it."""

    name: ClassVar[str]
    """The name of the folder and of the log of the server."""
    stop_signals: ClassVar[tuple[tuple[signal.Signals, float], ...]]
    """Signals that stop the server, the gentlest first, each with the seconds to wait. SIGKILL follows."""

    data_dir: Path
    durable: bool
    port: int
    password: str = field(repr=False)
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _log_start: int = field(default=0, init=False, repr=False)

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of the server, with the password."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """The unique part of the command line, which begins with the name of the binary."""

    @abstractmethod
    def prepare(self) -> None:
        """Create the files that the server needs to start."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server, which contains `signature`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server accepts connections."""

    @property
    def folder(self) -> Path:
        """The data folder of this server."""
        return self.data_dir / self.name

    @property
    def log(self) -> Path:
        """The log file."""
        return self.data_dir / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id of the server, whichever process started it; None if the server does not run."""
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        parents = {each.pid: each.parent for each in processes.present() if f"/{self.signature} " in f"{each.command} "}
        # A child has the command line of its parent until it sets a title of its own.
        return next((pid for pid, parent in parents.items() if parent not in parents), None)

    def start(self) -> None:
        """Start the server with the same port and data, and return when it answers.

        Raises `EngineError` if the server already runs or does not answer in time, or outside of the main thread.
        """
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the server without waiting until it answers."""
        if self.pid is not None:
            raise EngineError(f"{self.name} runs already in {self.folder}.")
        self.prepare()
        with open_private(self.log) as log:
            self._log_start = log.tell()
            death, _ = self.stop_signals[0]
            self._child = processes.launch(self.command(), folder=self.folder, log=log, death=death)

    def wait(self, *, within: float = START_PATIENCE) -> None:
        """Return when a launched server answers `within` seconds. Raises `EngineError` if it does not, or ends."""
        started_at = time.monotonic()
        while not self.answers():
            if self._child is None or self._child.poll() is not None:
                raise EngineError(f"{self.name} ended while it was starting.{self._end_of_log()}")
            if time.monotonic() - started_at > within:
                raise EngineError(f"{self.name} did not answer within {within:.0f} s.{self._end_of_log()}")
            time.sleep(0.02)
        _logger.info("%s answers on 127.0.0.1:%d after %.2f s", self.name, self.port, time.monotonic() - started_at)

    def stop(self) -> None:
        """Stop the server with the gentlest signal that works, also if it is frozen; do nothing if it does not run."""
        if (pid := self.pid) is None:
            return
        self.thaw()
        for signum, patience in self.stop_signals:
            _send(pid, signum)
            if self._wait_for_end({pid}, within=patience):
                _logger.info("%s stopped", self.name)
                return
            _logger.warning("%s did not end within %.0f s of %s", self.name, patience, signum.name)
        self.kill()

    def restart(self) -> None:
        """Stop and start the server."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """Kill the server and its children with SIGKILL, like a crash of the machine."""
        family = self._signal_family(signal.SIGSTOP)  # so that it cannot start children during the kill
        for pid in family:
            _send(pid, signal.SIGKILL)
        self._wait_for_end(family, within=START_PATIENCE)

    def freeze(self) -> None:
        """Suspend the server and its children (SIGSTOP): connections stay open, but the server does not answer."""
        self._signal_family(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume a frozen server (SIGCONT)."""
        self._signal_family(signal.SIGCONT)

    def _signal_family(self, signum: signal.Signals) -> set[int]:
        """Send a signal to the server and its children; return their pids.

        Each process gets its own signal, because every process of PostgreSQL leads a process group. The list of
        children is read again until it has no new pid, since the server may start a child meanwhile.
        """
        signalled: set[int] = set()
        if (pid := self.pid) is None:
            return signalled
        family = {pid}
        while remaining := family - signalled:
            for member in remaining:
                _send(member, signum)
            signalled |= remaining
            family = {pid, *(each.pid for each in processes.present() if each.parent == pid)}
        return signalled

    def _wait_for_end(self, pids: set[int], *, within: float) -> bool:
        """Wait until the processes have ended, and reap the child of this process; False after `within` seconds."""
        child = self._child if self._child is not None and self._child.pid in pids else None
        deadline = time.monotonic() + within
        while (child is not None and child.poll() is None) or _any_present(pids):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _end_of_log(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()[-LOG_TAIL:]
        return "\n".join([f" The end of {self.log}:", *lines])


def _send(pid: int, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the process has already ended
        os.kill(pid, signum)


def _any_present(pids: set[int]) -> bool:
    return not pids.isdisjoint(each.pid for each in processes.present())
