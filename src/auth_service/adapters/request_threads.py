"""Lanes: so many requests are at work at once, and one that waits for a hash or a client lets another one pass."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

log = logging.getLogger(__name__)

_here = threading.local()
"""The lanes that the thread works in, as `lanes`; nothing in a thread that belongs to none."""

MOST_SPARE = 64
"""Threads that are kept for the next crowd; more of them end."""

Job = Callable[[], None]


class Lanes(Executor):
    """Runs what is submitted, in order, so much of it at once.

    More threads at work would gain nothing: they would only wait for one another, for connections and for processors.
    But work that says that it is `stepping_aside` gives its lane to another thread meanwhile, which is made if there is
    none to spare. So there are as many more threads as may step aside at once, and whoever lets them has to bound that.
    """

    def __init__(self, *, at_once: int) -> None:
        """Make the threads; to be called after a fork."""
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._spare = 0
        """Threads without a lane."""
        self._lane_for_one = threading.Semaphore(0)
        """What they wait for."""
        self._too_many = 0
        """Threads that came back to work, and to whose lanes others have moved up."""
        self._ended = False
        for _ in range(at_once):
            self._add_thread()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Have this done when there is a lane for it."""
        if self._ended:
            raise RuntimeError("the lanes are closed")
        outcome: Future[Any] = Future()

        def job() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as failure:  # noqa: BLE001 - it is raised where the outcome is asked for
                outcome.set_exception(failure)
            else:
                outcome.set_result(result)

        self._jobs.put(job)
        return outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more. Threads are daemons: what still runs is not waited for."""
        self._ended = True
        self._jobs.put(None)

    def step_aside(self) -> bool:
        """Give the lane of this thread to another one; says whether there was one."""
        with self._lock:
            if self._too_many:
                self._too_many -= 1
                return True
            if self._spare:
                self._spare -= 1
                self._lane_for_one.release()
                return True
        try:
            self._add_thread()
        except RuntimeError:  # the system gives no more threads: there is one lane less for a moment
            log.warning("no thread could be started")
            return False
        return True

    def come_back(self) -> None:
        """Go on working; another thread will give up its lane when it has finished what it does."""
        with self._lock:
            self._too_many += 1

    def _add_thread(self) -> None:
        threading.Thread(target=self._work, name="request", daemon=True).start()

    def _work(self) -> None:
        _here.lanes = self
        while (job := self._jobs.get()) is not None:
            job()
            del job  # it holds a connection that somebody may be waiting to see closed
            # Looked at without the lock, which almost nobody needs: whoever misses a change sees it next time.
            if self._too_many and self._one_too_many() and not self._have_lane_again():
                return
        self._jobs.put(None)  # for the next one

    def _one_too_many(self) -> bool:
        with self._lock:
            if not self._too_many:
                return False
            self._too_many -= 1
            return True

    def _have_lane_again(self) -> bool:
        """Wait for a lane; False at once if others wait enough."""
        with self._lock:
            if self._spare >= MOST_SPARE:
                return False
            self._spare += 1
        self._lane_for_one.acquire()
        return True


@contextmanager
def stepping_aside() -> Iterator[None]:
    """Let another request have the lane of this one while it waits; outside of lanes this does nothing."""
    lanes: Lanes | None = getattr(_here, "lanes", None)
    if lanes is None or not lanes.step_aside():
        yield
        return
    try:
        yield
    finally:
        lanes.come_back()
