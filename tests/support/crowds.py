"""Occupied capacity: concurrent requests that use all of the password hasher."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from auth_service.adapters.crypto.password_hasher import PasswordHasher


@contextmanager
def occupied(hasher: PasswordHasher) -> Iterator[None]:
    """Occupy every slot of the password hasher of this process and of its queue."""
    hasher.hash("a password of an earlier request")  # the first hash starts the threads
    places = hasher._threads[os.getpid()]._slots
    acquired = 0
    while places.acquire(blocking=False):
        acquired += 1
    yield
    places.release(acquired)
