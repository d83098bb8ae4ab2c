"""Request thread pool: so many requests are at work at once, and more of them only while they wait without a slot."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

_this_thread = threading.local()
"""The slots that the request of this thread holds one of, as `slots`; nothing outside of `RequestSlots`."""

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class RequestSlots:
    """Lets so many requests at once into an application.

    More of them would only wait for one another, for connections and for processors. A request that waits for something
    else (a password hash, the rest of its body) releases its slot meanwhile; nothing else may run while it has none.
    """

    def __init__(self, number: int) -> None:
        """`number` requests at once. Made before a fork, each process has that many."""
        # A queue of tokens is a semaphore without an owner. It is written in C; threading.Semaphore is not.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def around(self, application: WsgiApplication) -> WsgiApplication:
        """The application, for so many requests at once. Sending the response needs no slot."""

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
        """Do without the slot that this thread holds; wait for one afterwards."""
        _this_thread.slots = None
        self._free.put(None)
        try:
            yield
        finally:
            self._free.get()
            _this_thread.slots = self


@contextmanager
def release_slot() -> Iterator[None]:
    """Let another request have the slot of this one while it waits. Does nothing where there is none to release."""
    slots: RequestSlots | None = getattr(_this_thread, "slots", None)
    if slots is None:
        yield
        return
    with slots.released():
        yield
