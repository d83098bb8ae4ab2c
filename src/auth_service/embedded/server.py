"""One embedded server: starting, stopping, and the faults that tests make."""

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
"""Seconds that a server may take to answer, crash recovery included."""
LOG_TAIL = 20
"""Lines of a server's log that an error quotes."""


@dataclass(kw_only=True)
class Server(ABC):
    """A server of one folder, found by its command line whoever started it."""

    name: ClassVar[str]
    """What its folder and its log are called."""
    farewells: ClassVar[tuple[tuple[signal.Signals, float], ...]]
    """Signals that ask it to end, the politest first, each with the seconds it gets. SIGKILL follows."""

    data_dir: Path
    durable: bool
    port: int
    password: str = field(repr=False)
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _log_start: int = field(default=0, init=False, repr=False)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it answers, with the password."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """The words of its command line, from the binary's name on, that no other server has."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what has to be there before it starts."""

    @abstractmethod
    def command(self) -> list[str]:
        """Its command line, which contains `signature`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be used."""

    @property
    def folder(self) -> Path:
        """Where its data are."""
        return self.data_dir / self.name

    @property
    def log(self) -> Path:
        """What it says."""
        return self.data_dir / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process, also when somebody else started it; nothing when it does not run."""
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        found = {each.pid: each.parent for each in processes.present() if f"/{self.signature} " in f"{each.command} "}
        # A child looks like its parent until it has set its own title.
        return next((pid for pid, parent in found.items() if parent not in found), None)

    def start(self) -> None:
        """Start on the same port and data, and return when it answers.

        Raises `EngineError` when it runs already, does not answer in time, or this is not the main thread.
        """
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start without waiting for answers."""
        if self.pid is not None:
            raise EngineError(f"{self.name} runs already in {self.folder}.")
        self.prepare()
        with open_private(self.log) as log:
            self._log_start = log.tell()
            death, _ = self.farewells[0]
            self._child = processes.launch(self.command(), folder=self.folder, log=log, death=death)

    def wait(self) -> None:
        """Return when a launched server answers."""
        began = time.monotonic()
        while not self.answers():
            if self._child is None or self._child.poll() is not None:
                raise EngineError(f"{self.name} ended while it was starting.{self._last_words()}")
            if time.monotonic() - began > START_PATIENCE:
                raise EngineError(f"{self.name} did not answer within {START_PATIENCE:.0f} s.{self._last_words()}")
            time.sleep(0.02)
        _logger.info("%s answers on 127.0.0.1:%d after %.2f s", self.name, self.port, time.monotonic() - began)

    def stop(self) -> None:
        """End it in the politest way that works; do nothing if it does not run. Also ends one that is frozen."""
        if (pid := self.pid) is None:
            return
        self.thaw()
        for farewell, patience in self.farewells:
            _send(pid, farewell)
            if self._gone({pid}, within=patience):
                _logger.info("%s stopped", self.name)
                return
            _logger.warning("%s did not end within %.0f s of %s", self.name, patience, farewell.name)
        self.kill()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it and its children with SIGKILL, as a crash of the machine would."""
        family = self._signal_family(signal.SIGSTOP)  # so that it makes no children meanwhile
        for pid in family:
            _send(pid, signal.SIGKILL)
        self._gone(family, within=START_PATIENCE)

    def freeze(self) -> None:
        """Stop the clock of it and its children: connections stay open, nothing answers."""
        self._signal_family(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal_family(signal.SIGCONT)

    def _signal_family(self, signum: signal.Signals) -> set[int]:
        """Signal it and its children, and say who they are.

        One by one: every process of PostgreSQL leads a group of its own. Again until nobody new turns up, since a
        server may be making a child just as its children are counted.
        """
        done: set[int] = set()
        if (pid := self.pid) is None:
            return done
        family = {pid}
        while fresh := family - done:
            for member in fresh:
                _send(member, signum)
            done |= fresh
            family = {pid, *(each.pid for each in processes.present() if each.parent == pid)}
        return done

    def _gone(self, pids: set[int], *, within: float) -> bool:
        """Wait until none of them is there any more; our own child is then reaped, too."""
        child = self._child if self._child is not None and self._child.pid in pids else None
        deadline = time.monotonic() + within
        while (child is not None and child.poll() is None) or _any_present(pids):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()[-LOG_TAIL:]
        return "\n".join([f" The end of {self.log}:", *lines])


def _send(pid: int, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended meanwhile
        os.kill(pid, signum)


def _any_present(pids: set[int]) -> bool:
    return not pids.isdisjoint(each.pid for each in processes.present())
