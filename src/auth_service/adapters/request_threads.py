"""Request thread pool: request slots limit how many requests run concurrently; a waiting request releases its slot."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

log = logging.getLogger(__name__)

_this_thread = threading.local()
"""The attribute `slots` is the `RequestSlots` in which this thread holds a slot; None or missing if it holds none."""

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class RequestThreads(ThreadPoolExecutor):
    """A thread pool with a thread for each connection, as long as the system allows new threads.

    A container may limit threads far below the number of connections. At that limit work waits for an existing thread.
    `ThreadPoolExecutor` would raise an error although it has queued the work.
    """

    def __init__(self, at_most: int) -> None:
        """Start at most `at_most` threads, each when it is needed."""
        super().__init__(at_most, thread_name_prefix="request")
        self._is_open = True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Queue a call; return the future of its result."""
        outcome: Future[Any] = Future()

        def work() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as failure:  # noqa: BLE001 - `Future.result` raises it
                outcome.set_exception(failure)
            else:
                outcome.set_result(result)

        try:
            super().submit(work)
        except RuntimeError:
            if not self._is_open:
                raise
            log.warning("no thread could be started")
        return outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down the pool; `submit` raises RuntimeError from now on."""
        self._is_open = False
        super().shutdown(wait, cancel_futures=cancel_futures)


class RequestSlots:
    """Limits the number of requests that an application handles concurrently.

    More requests would only wait for each other, for connections and for processors. A request that waits for something
    else (a password hash, the rest of its body) releases its slot until the wait ends. Without a slot it may only wait.
    """

    def __init__(self, number: int) -> None:
        """Allow `number` concurrent requests in this process, and in each process that is forked from it."""
        # A queue of tokens serves as a semaphore. It is faster than threading.Semaphore, because it is written in C.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def around(self, application: WsgiApplication) -> WsgiApplication:
        """Return the application behind the limit. Sending the response needs no slot."""

        def limited(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            self._free.get()
            _this_thread.slots = self
            try:
                return application(environ, start_response)
            finally:
                _this_thread.slots = None
                self._free.put(None)

        return limited

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release the slot of this thread for the duration of the block; wait for a slot afterwards."""
        _this_thread.slots = None
        self._free.put(None)
        try:
            yield
        finally:
            self._free.get()
            _this_thread.slots = self


@contextmanager
def release_slot() -> Iterator[None]:
    """Release the request slot of this thread for the duration of the block, if it has one."""
    slots: RequestSlots | None = getattr(_this_thread, "slots", None)
    if slots is None:
        yield
        return
    with slots.released():
        yield
