"""Races: concurrent requests that start at one barrier, and what each of them got."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any


def at_once(count: int, act: Callable[[], Any]) -> list[Any]:
    """Do something `count` times at the same moment."""
    barrier = Barrier(count)

    def started_together(_: int) -> Any:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started_together, range(count)))


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Do different things at the same moment."""
    barrier = Barrier(len(acts))

    def started_together(act: Callable[[], Any]) -> Any:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(started_together, acts))


def outcome(answer: Any) -> tuple[int, str]:
    """The status, and the code of a refusal."""
    return answer.status_code, answer.json.get("error", {}).get("code", "")
