"""Undisturbed tests: those with deadlines run while the other test processes wait, which would slow them down."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MARKER = "undisturbed"


def is_undisturbed(item: pytest.Item | None) -> bool:
    """Return whether a test has the marker."""
    return item is not None and item.get_closest_marker(MARKER) is not None


def in_order_of_run(items: list[pytest.Item]) -> None:
    """Move slow modules to the beginning, so that no process waits for one at the end, and undisturbed ones to the end.

    At the end there is little left to wait for them, and all files that a service reads at its start have been read.
    """
    undisturbed = {item.path for item in items if is_undisturbed(item)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path in undisturbed, item.path not in slow))


@dataclass(kw_only=True)
class TestProcesses:
    """A lock that the processes of a test run share: many ordinary tests hold it, or one undisturbed test."""

    __test__ = False

    gate: Path
    """Locked while an undisturbed test waits or runs, so that no other test begins."""
    tests: Path
    """Locked while a test runs: shared by ordinary tests, exclusively by an undisturbed one."""
    _held: ExitStack | None = field(default=None, init=False)
    """The locks of this process, while it may run tests."""

    @classmethod
    def of(cls, config: pytest.Config) -> "TestProcesses":
        """The lock of a checkout. It is on files that exist, so that a test run leaves nothing behind."""
        return cls(gate=config.rootpath / "pyproject.toml", tests=config.rootpath / "manage.py")

    def begin(self, item: pytest.Item) -> None:
        """Wait until the test may run."""
        if self._held is not None:
            return
        self._held = ExitStack()
        with ExitStack() as waiting:
            waiting.enter_context(locked(self.gate, fcntl.LOCK_EX))
            undisturbed = is_undisturbed(item)
            self._held.enter_context(locked(self.tests, fcntl.LOCK_EX if undisturbed else fcntl.LOCK_SH))
            if undisturbed:
                self._held.push(waiting.pop_all())

    def end(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Admit other tests, unless the next test of this process is undisturbed too."""
        if self._held is not None and not (is_undisturbed(item) and is_undisturbed(following)):
            self._held.close()
            self._held = None


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock on a file, which is released with it, also if the process is killed."""
    with path.open("rb") as file:
        fcntl.flock(file, how)
        yield
