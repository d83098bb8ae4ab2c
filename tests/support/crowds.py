"""Crowds: what other people keep busy while a test asks for something."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from auth_service.adapters.crypto.password_hasher import PasswordHasher


@contextmanager
def occupied(hasher: PasswordHasher) -> Iterator[None]:
    """Every place with the hasher of this process, and in its queue, is taken meanwhile."""
    hasher.hash("a password of an earlier request")  # the first one makes the threads
    places = hasher._threads[os.getpid()]._slots
    taken = 0
    while places.acquire(blocking=False):
        taken += 1
    yield
    places.release(taken)
