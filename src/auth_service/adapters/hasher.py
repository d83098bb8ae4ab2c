"""Password hashing: Argon2id in PHC form, a bounded number at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from auth_service.errors import ServiceBusy

MEMORY_KIB, TIME, LANES = 19456, 2, 1
"""The parameters of the OWASP password storage cheat sheet; about 30 ms of one processor."""

PATIENCE = timedelta(milliseconds=1500)


class Hasher:
    """Hashes and verifies passwords; each hash takes 19 MiB, so only so many run at once."""

    def __init__(self, *, at_once: int) -> None:
        """`at_once` bounds the memory and the processors that hashing can take."""
        self._argon2 = PasswordHasher(
            time_cost=TIME, memory_cost=MEMORY_KIB, parallelism=LANES, hash_len=32, salt_len=16, type=Type.ID
        )
        self._turns = threading.BoundedSemaphore(at_once)

    def hash(self, password: str) -> str:
        """Hash a password into a PHC string. Raises ServiceBusy when no turn came in time."""
        with self._turn():
            return self._argon2.hash(password)

    def verify(self, password: str, phc: str) -> bool:
        """Whether the password made this PHC string. Raises ServiceBusy when no turn came in time."""
        with self._turn():
            try:
                return self._argon2.verify(phc, password)
            except (VerificationError, InvalidHashError):
                return False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=PATIENCE.total_seconds()):
            raise ServiceBusy(retry_after=2)
        try:
            yield
        finally:
            self._turns.release()
