"""Password hasher: Argon2id in PHC form, on a few low-priority threads with a bounded queue."""

import base64
import contextlib
import hmac
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import nacl.exceptions
import nacl.pwhash

from auth_service.adapters.crypto import legacy_hashes
from auth_service.adapters.request_threads import release_slot
from auth_service.errors import ServiceBusy

MEMORY_KIB, TIME, PARALLELISM = 19456, 2, 1
SALT_BYTES, DIGEST_BYTES = 16, 32
"""Parameters of the OWASP password storage cheat sheet; one hash takes about 30 ms of one processor."""
SMALLEST_KIB = 8
"""The smallest memory of Argon2id with one lane."""

PATIENCE = timedelta(seconds=3)
"""How long a request waits for its hash at most, so that it is answered within five seconds."""
RETRY_AFTER = 2
"""Seconds after which a rejected client may send the request again."""
NICENESS = 5
"""How much lower the priority of hashing is than that of request threads; see `docs/decisions/0010-hashing.md`."""

_PARAMETERS = f"$argon2id$v=19$m={MEMORY_KIB},t={TIME},p={PARALLELISM}$"
_CURRENT_FORM = re.compile(re.escape(_PARAMETERS) + r"([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})")


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordMatch:
    """Whether a password matches a hash, and whether the hash has to be replaced."""

    matches: bool
    outdated: bool
    """The password matches, but the hash is a legacy hash or has other parameters: hash the password again."""


class PasswordHasher:
    """Hashes and verifies passwords. A hash takes 19 MiB and one processor, so concurrent hashes are bounded.

    Each process starts its own threads with its first hash, also after a fork. They have a lower priority than request
    threads: a flood of sign-ins slows down sign-ins, not the other endpoints.
    """

    def __init__(
        self,
        *,
        concurrent: int,
        waiting: int = 16,
        patience: timedelta = PATIENCE,
        cpu_time: Callable[[], float] = time.thread_time,
    ) -> None:
        """`concurrent` bounds the concurrent hashes, `waiting` the requests in the queue, `patience` their time in it.

        `cpu_time` returns the processor time that the calling thread has used, in seconds.
        """
        self._concurrent = concurrent
        self._waiting = waiting
        self._patience = patience
        # Keyed by process id, because threads do not survive a fork. Without a lock, because a lock that another thread
        # holds during the fork would stay locked in the child.
        self._threads: dict[int, _Threads] = {}
        self._dummy_salt = secrets.token_bytes(SALT_BYTES)
        self._cpu_time = cpu_time
        self._usual_cost: float | None = None

    def ensure_capacity(self) -> None:
        """Raise ServiceBusy if the queue is full; callers check this before they do other work."""
        threads = self._threads.get(os.getpid())
        if threads is not None and threads.is_full():
            raise ServiceBusy(retry_after=RETRY_AFTER)

    def hash(self, password: str) -> str:
        """Hash a password into a PHC string. Raises ServiceBusy if the queue is full or the time limit is exceeded."""
        return self._run(lambda: _hash(_bytes(password)))

    def verify(self, password: str, password_hash: str | None, *, typed: str | None = None) -> PasswordMatch:
        """Compare a password with a hash. Raises ServiceBusy if the queue is full or the time limit is exceeded.

        No password matches None, a disabled hash or a malformed one. The comparison then computes a dummy hash, so it
        takes as long as that of a wrong password: prevents user enumeration by timing (ASVS 6.3.8). The empty password
        matches nothing.

        `password_hash` may be a legacy hash of another system (`legacy_hashes`). If it costs less processor time than a
        current hash, a wrong password also costs a dummy hash that takes the rest of that time. So the duration reveals
        an imported account only if its legacy hash costs more than a current hash, and only until the first sign-in
        replaces the legacy hash. Other systems hash the password as the user types it (`typed`), without normalisation,
        so that form is also compared.
        """
        return self._run(lambda: self._compare(password, password_hash or "", typed or password))

    def _compare(self, password: str, password_hash: str, typed: str) -> PasswordMatch:
        if current := _CURRENT_FORM.fullmatch(password_hash):
            salt, expected = (_from_base64(part) for part in current.groups())
            matches = hmac.compare_digest(self._measured_digest(_bytes(password), salt), expected)
            return PasswordMatch(matches=matches and password != "", outdated=False)
        matches_legacy = legacy_hashes.check(password_hash)
        if matches_legacy is None:
            self._measured_digest(_bytes(password), self._dummy_salt)
            return PasswordMatch(matches=False, outdated=False)
        forms = dict.fromkeys((_bytes(typed), _bytes(password)))
        began = self._cpu_time()
        try:
            matches = any(matches_legacy(form) for form in forms) and password != ""
        except (ValueError, MemoryError):  # `parse` accepted the parameters, so memory is missing
            raise ServiceBusy(retry_after=RETRY_AFTER) from None
        if not matches:
            self._compute_rest(_bytes(password), spent=self._cpu_time() - began)
        return PasswordMatch(matches=matches, outdated=matches)

    def _measured_digest(self, password: bytes, salt: bytes) -> bytes:
        """Compute the digest with the current parameters, and add its processor time to the average."""
        began = self._cpu_time()
        digest = _digest(password, salt)
        cost = self._cpu_time() - began
        # Concurrent updates may lose one measurement, which does no harm.
        self._usual_cost = cost if self._usual_cost is None else self._usual_cost + (cost - self._usual_cost) / 8
        return digest

    def _compute_rest(self, password: bytes, *, spent: float) -> None:
        """Compute a dummy hash for the rest of the usual cost: prevents user enumeration by timing (ASVS 6.3.8).

        It computes instead of sleeping: a sleep uses no processor, so under load it would be shorter than a hash. The
        cost of Argon2id is proportional to its memory.
        """
        if not self._usual_cost:
            self._measured_digest(password, self._dummy_salt)
            return
        memory_kib = int(MEMORY_KIB * (1 - spent / self._usual_cost))
        if memory_kib >= SMALLEST_KIB:
            _digest(password, self._dummy_salt, memory_kib=memory_kib)

    def _run(self, work: Callable[[], T]) -> T:
        pid = os.getpid()
        threads = self._threads.get(pid)
        if threads is None:
            threads = self._threads.setdefault(pid, _Threads(concurrent=self._concurrent, waiting=self._waiting))
        return threads.run(work, within=self._patience)


class _Threads:
    """The hashing threads of one process and the queue in front of them."""

    def __init__(self, *, concurrent: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(concurrent, thread_name_prefix="hashing", initializer=_lower_priority)
        self._slots = threading.BoundedSemaphore(concurrent + waiting)

    def is_full(self) -> bool:
        if not self._slots.acquire(blocking=False):
            return True
        self._slots.release()
        return False

    def run(self, work: Callable[[], T], *, within: timedelta) -> T:
        """Run the work on one of the threads and wait for its result. Raises ServiceBusy."""
        if not self._slots.acquire(blocking=False):
            raise ServiceBusy(retry_after=RETRY_AFTER)
        outcome: Future[T] = Future()
        try:
            self._executor.submit(self._execute, work, outcome)
        except RuntimeError:  # no thread can be started, or the process is exiting
            raise self._cancel(outcome) from None
        try:
            with release_slot():
                return outcome.result(timeout=within.total_seconds())
        except TimeoutError:
            raise self._cancel(outcome) from None

    def _cancel(self, outcome: Future[T]) -> ServiceBusy:
        """Cancel work that is still queued and free its slot; work that is running keeps its slot until it ends."""
        if outcome.cancel():
            self._slots.release()
        return ServiceBusy(retry_after=RETRY_AFTER)

    def _execute(self, work: Callable[[], T], outcome: Future[T]) -> None:
        if not outcome.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - the waiting request raises it again
            self._slots.release()
            outcome.set_exception(error)
        else:
            # The slot is released before the caller continues, so that its next hash finds a free slot.
            self._slots.release()
            outcome.set_result(result)


def _lower_priority() -> None:
    """Lower the priority of the calling thread, on systems where threads have priorities of their own (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogatepass")  # a client can send a lone surrogate


def _hash(password: bytes) -> str:
    salt = secrets.token_bytes(SALT_BYTES)
    return f"{_PARAMETERS}{_base64(salt)}${_base64(_digest(password, salt))}"


def _digest(password: bytes, salt: bytes, *, memory_kib: int = MEMORY_KIB) -> bytes:
    """Argon2id with the current parameters. Raises ServiceBusy if the memory for it is not available."""
    # Not with the verification function of the library: without memory it reports a wrong password.
    try:
        return nacl.pwhash.argon2id.kdf(DIGEST_BYTES, password, salt, opslimit=TIME, memlimit=memory_kib * 1024)
    except nacl.exceptions.RuntimeError:
        raise ServiceBusy(retry_after=RETRY_AFTER) from None


def _base64(binary: bytes) -> str:
    return base64.b64encode(binary).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
