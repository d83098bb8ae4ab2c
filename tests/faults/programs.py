"""Processes that tests start, and waiting for what becomes of them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MANAGE = (sys.executable, str(ROOT / "manage.py"))


def wait_until(holds: Callable[[], Any], *, within: float, what: str, every: float = 0.05) -> float:
    """Wait until something holds; returns after how many seconds it did."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(every)
    return time.monotonic() - began


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(kw_only=True)
class Program:
    """One process that we start, in a session of its own, and what it says."""

    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    child: subprocess.Popen[bytes] | None = None
    _log_start: int = 0

    def start(self, **changes: str) -> None:
        """Start it from an empty folder, so that no `.env` has a say; `changes` are settings of this one run."""
        assert self.child is None or self.child.poll() is not None
        # Whatever becomes of the tests, it does not outlive them (Linux).
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self.child = subprocess.Popen(
                [*([setpriv, "--pdeathsig=KILL"] if setpriv else []), *self.command],
                env={**os.environ, **self.environment, **changes},
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    @property
    def ended(self) -> bool:
        return self.child is None or self.child.poll() is not None

    def wait(self, seconds: float) -> int:
        """Its exit status, once it has ended by itself."""
        assert self.child is not None
        return self.child.wait(seconds)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It does nothing meanwhile."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    def ask_to_stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, as an operator does."""
        assert self.child is not None
        self.child.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within: float = 15) -> int:
        """Ask it to end; returns its exit status."""
        self.ask_to_stop(number)
        return self.wait(within)

    def said(self) -> str:
        """What it logged since it was started."""
        return self.log.read_bytes()[self._log_start :].decode()


def kill(pid: int) -> None:
    """SIGKILL for a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
