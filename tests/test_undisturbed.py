"""Undisturbed tests: no test of another process runs beside a test with deadlines."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.undisturbed import MARKER, TestProcesses


@pytest.fixture
def process(tmp_path: Path) -> Callable[[], TestProcesses]:
    """Makes test processes that share a lock."""
    gate, tests = tmp_path / "gate", tmp_path / "tests"
    gate.touch()
    tests.touch()
    return lambda: TestProcesses(gate=gate, tests=tests)


@pytest.fixture
def ordinary(request: pytest.FixtureRequest) -> pytest.Item:
    """An ordinary test: this one."""
    item: pytest.Item = request.node
    return item


@pytest.fixture
def undisturbed(ordinary: pytest.Item) -> pytest.Item:
    """A test with the marker."""
    item = pytest.Function.from_parent(ordinary.parent, name="undisturbed", callobj=lambda: None)
    item.add_marker(MARKER)
    return item


def beginning(process: TestProcesses, item: pytest.Item) -> threading.Thread:
    """Begin a test in a thread, which ends when the test may run."""
    thread = threading.Thread(target=process.begin, args=(item,), daemon=True)
    thread.start()
    thread.join(0.1)
    return thread


def test_ordinary_tests_run_beside_each_other(process: Callable[[], TestProcesses], ordinary: pytest.Item) -> None:
    assert not any(beginning(process(), ordinary).is_alive() for _ in range(3))


def test_an_undisturbed_test_waits_for_the_others_and_they_wait_for_it(
    process: Callable[[], TestProcesses], ordinary: pytest.Item, undisturbed: pytest.Item
) -> None:
    first, second, third = process(), process(), process()
    first.begin(ordinary)
    waiting = beginning(second, undisturbed)
    behind = beginning(third, ordinary)
    assert (waiting.is_alive(), behind.is_alive()) == (True, True)

    first.end(ordinary, ordinary)
    waiting.join(10)
    assert (waiting.is_alive(), behind.is_alive()) == (False, True)

    second.end(undisturbed, undisturbed)
    second.begin(undisturbed)
    assert behind.is_alive(), "the lock is kept between two undisturbed tests"
    second.end(undisturbed, None)
    behind.join(10)
    assert not behind.is_alive()
