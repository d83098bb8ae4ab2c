"""Subprocesses of the fault tests: start, wait, signal, kill."""

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


def wait_until(condition: Callable[[], Any], *, within: float, what: str, every: float = 0.05) -> float:
    """Wait until a condition is true; returns the seconds that this took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(every)
    return time.monotonic() - began


def free_port() -> int:
    """A port of 127.0.0.1 that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(kw_only=True)
class Program:
    """A subprocess in its own session, and its log."""

    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    child: subprocess.Popen[bytes] | None = None
    _log_start: int = 0

    def start(self, **changes: str) -> None:
        """Start the process in a folder without `.env`; `changes` are settings of this run only."""
        assert self.child is None or self.child.poll() is not None
        # Linux kills the process when the test process ends, also after a crash.
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
        """Wait for the end of the process; returns its exit status."""
        assert self.child is not None
        return self.child.wait(seconds)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the process with SIGSTOP until the block ends."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash does."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    def request_stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal with which an operator stops the process."""
        assert self.child is not None
        self.child.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within: float = 15) -> int:
        """Stop the process; returns its exit status."""
        self.request_stop(number)
        return self.wait(within)

    def output(self) -> str:
        """The log since the last start."""
        return self.log.read_bytes()[self._log_start :].decode()


def kill(pid: int) -> None:
    """SIGKILL for a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
