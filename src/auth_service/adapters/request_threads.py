"""Request thread pool: request slots limit how many requests run concurrently; a waiting request releases its slot."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

_this_thread = threading.local()
"""`slots` is the `RequestSlots` of which the request of this thread holds a slot; None or missing without one."""

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class RequestSlots:
    """Limits the number of requests that an application handles concurrently.

    More requests would only wait for each other, for connections and for processors. A request that waits for something
    else (a password hash, the rest of its body) releases its slot until the wait ends. It may do nothing but wait while
    it has no slot.
    """

    def __init__(self, number: int) -> None:
        """Allow `number` concurrent requests in each process, if created before the fork."""
        # A queue of tokens is a semaphore without an owner. It is written in C; threading.Semaphore is not.
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
