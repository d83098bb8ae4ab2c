"""Concurrent requests and the password hasher: occupied capacity, lost races for it, and the number of hashes."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from flask import Flask

from auth_service.adapters.crypto.password_hasher import PasswordHasher, PasswordMatch
from auth_service.wiring import Services
from tests.support.rewiring import rewired


@contextmanager
def patient_hashing(app: Flask) -> Iterator[Flask]:
    """Let the passwords of fifty concurrent requests wait for their hash as long as a slow machine needs."""
    services: Services = app.extensions["auth_service"]
    hasher = PasswordHasher(concurrent=4, waiting=60, patience=timedelta(minutes=1))
    app.extensions["auth_service"] = rewired(services, services.sign_in.passwords.hasher, by=hasher)
    yield app
    app.extensions["auth_service"] = services


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


class OvertakenHasher(PasswordHasher):
    """A password hasher whose capacity concurrent requests take, until `free`; the next step of a request is busy."""

    def __init__(self) -> None:
        super().__init__(concurrent=1, waiting=1)
        self.times = 0
        """How often concurrent requests have taken the capacity."""
        self._others = ExitStack()

    def overtake(self) -> None:
        self._others.enter_context(occupied(self))
        self.times += 1

    def free(self) -> None:
        self._others.close()


class OvertakenAfterTheCheck(OvertakenHasher):
    """Concurrent requests take the capacity after a request has checked it."""

    def ensure_capacity(self) -> None:
        super().ensure_capacity()
        self.overtake()


class OvertakenAfterVerification(OvertakenHasher):
    """Concurrent requests take the capacity after the password of a request has been verified."""

    def verify(self, password: str, password_hash: str | None, *, typed: str | None = None) -> PasswordMatch:
        result = super().verify(password, password_hash, typed=typed)
        self.overtake()
        return result


class CountingHasher(PasswordHasher):
    """A password hasher that records the passwords it verifies and hashes."""

    def __init__(self, *, concurrent: int) -> None:
        super().__init__(concurrent=concurrent)
        self.verified: list[str] = []
        self.hashed: list[str] = []

    def hash(self, password: str) -> str:
        self.hashed.append(password)
        return super().hash(password)

    def verify(self, password: str, password_hash: str | None, *, typed: str | None = None) -> PasswordMatch:
        self.verified.append(password)
        return super().verify(password, password_hash, typed=typed)
