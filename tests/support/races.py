"""Races: concurrent requests that start at one barrier, and their outcomes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any


def at_once(count: int, act: Callable[[], Any]) -> list[Any]:
    """Call `act` in `count` concurrent threads."""
    barrier = Barrier(count)

    def started_together(_: int) -> Any:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started_together, range(count)))


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Call different functions in concurrent threads."""
    barrier = Barrier(len(acts))

    def started_together(act: Callable[[], Any]) -> Any:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(started_together, acts))


def outcome(answer: Any) -> tuple[int, str]:
    """The status and the error code of an answer."""
    return answer.status_code, answer.json.get("error", {}).get("code", "")
