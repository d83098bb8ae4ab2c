"""Password hashing: Argon2id in PHC form, on a few threads of low priority behind a short queue."""

import base64
import contextlib
import hmac
import os
import re
import secrets
import sys
import threading
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

MEMORY_KIB, TIME, LANES = 19456, 2, 1
SALT_BYTES, DIGEST_BYTES = 16, 32
"""The parameters of the OWASP password storage cheat sheet; about 30 ms of one processor."""

PATIENCE = timedelta(seconds=3)
"""The longest that a caller waits, so that a whole request stays within five seconds."""
COME_BACK = 2
"""Seconds after which somebody who was sent away may try again."""
NICENESS = 5
"""How far the priority of hashing lies below that of answering requests; see `docs/decisions/0010-hashing.md`."""

_PARAMETERS = f"$argon2id$v=19$m={MEMORY_KIB},t={TIME},p={LANES}$"
_OURS = re.compile(re.escape(_PARAMETERS) + r"([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})")


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordVerdict:
    """What became of a password that was compared to a hash."""

    matches: bool
    outdated: bool
    """The password matches, but the hash was made by another system or with other parameters: make a new one."""


class PasswordHasher:
    """Hashes and verifies passwords. Each hash takes 19 MiB and a processor, so only so many run at once.

    Threads are made by the process that first asks for a hash, also after a fork. They run at a lower priority than
    those that answer requests: a storm of sign-ins slows sign-ins down, and nothing else.
    """

    def __init__(
        self,
        *,
        at_once: int,
        waiting: int = 16,
        patience: timedelta = PATIENCE,
    ) -> None:
        """`at_once` bounds memory and processors, `waiting` and `patience` how many callers wait and how long."""
        self._at_once = at_once
        self._waiting = waiting
        self._patience = patience
        # One for each process that this object came into, and only the process's own is ever used. A dictionary needs
        # no lock here, and a lock that somebody held during a fork would stay shut in the child.
        self._threads: dict[int, _Threads] = {}
        self._nobodys_salt = secrets.token_bytes(SALT_BYTES)

    def ensure_capacity(self) -> None:
        """Raise ServiceBusy if whoever asked for a hash now would be sent away: to be found out before other work."""
        threads = self._threads.get(os.getpid())
        if threads is not None and threads.are_full():
            raise ServiceBusy(retry_after=COME_BACK)

    def hash(self, password: str) -> str:
        """Hash a password into a PHC string. Raises ServiceBusy when too many wait already, or it took too long."""
        return self._done(lambda: _hashed(_bytes(password)))

    def verify(self, password: str, password_hash: str | None, *, typed: str | None = None) -> PasswordVerdict:
        """Whether the password made this hash. Raises ServiceBusy when too many wait already, or it took too long.

        No hash (None), an unusable one and one that nothing can be made of match no password, and finding that out
        takes as long as finding out that a password is wrong. The empty password matches nothing.

        `password_hash` may be a legacy hash of another system (`legacy_hashes`). It costs what it cost there until the
        first sign-in replaces it, so until then the duration reveals an imported account. Other systems hashed the
        password as it was typed (`typed`), so that form is tried, too.
        """
        return self._done(lambda: self._verdict(password, password_hash or "", typed or password))

    def _verdict(self, password: str, password_hash: str, typed: str) -> PasswordVerdict:
        if ours := _OURS.fullmatch(password_hash):
            salt, expected = (_from_base64(part) for part in ours.groups())
            matches = hmac.compare_digest(_digest(_bytes(password), salt), expected)
            return PasswordVerdict(matches=matches and password != "", outdated=False)
        made_from = legacy_hashes.check(password_hash)
        if made_from is None:
            _digest(_bytes(password), self._nobodys_salt)
            return PasswordVerdict(matches=False, outdated=False)
        spellings = dict.fromkeys((_bytes(typed), _bytes(password)))
        matches = any(made_from(spelling) for spelling in spellings) and password != ""
        return PasswordVerdict(matches=matches, outdated=matches)

    def _done(self, work: Callable[[], T]) -> T:
        pid = os.getpid()
        threads = self._threads.get(pid)
        if threads is None:
            threads = self._threads.setdefault(pid, _Threads(at_once=self._at_once, waiting=self._waiting))
        return threads.do(work, within=self._patience)


class _Threads:
    """The hashing threads of one process, and the places with them and in the queue."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(at_once, thread_name_prefix="hashing", initializer=_step_back)
        self._places = threading.BoundedSemaphore(at_once + waiting)

    def are_full(self) -> bool:
        if not self._places.acquire(blocking=False):
            return True
        self._places.release()
        return False

    def do(self, work: Callable[[], T], *, within: timedelta) -> T:
        """Have the work done by one of the threads. Raises ServiceBusy."""
        if not self._places.acquire(blocking=False):
            raise ServiceBusy(retry_after=COME_BACK)
        outcome: Future[T] = Future()
        try:
            self._executor.submit(self._carry_out, work, outcome)
        except RuntimeError:  # no thread could be started, or the process is about to end
            raise self._given_up(outcome) from None
        try:
            with release_slot():
                return outcome.result(timeout=within.total_seconds())
        except TimeoutError:
            raise self._given_up(outcome) from None

    def _given_up(self, outcome: Future[T]) -> ServiceBusy:
        """Take back what has not begun, so that it never will; what has begun goes on and keeps its place."""
        if outcome.cancel():
            self._places.release()
        return ServiceBusy(retry_after=COME_BACK)

    def _carry_out(self, work: Callable[[], T], outcome: Future[T]) -> None:
        if not outcome.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as failure:  # noqa: BLE001 - it is raised again where the work was asked for
            self._places.release()
            outcome.set_exception(failure)
        else:
            # The place is given back before the caller hears of it, so that whoever calls again at once finds it.
            self._places.release()
            outcome.set_result(result)


def _step_back() -> None:
    """Lower the priority of the calling thread; where threads have none of their own, leave it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            me = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, me, os.getpriority(os.PRIO_PROCESS, me) + NICENESS)


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogatepass")  # half a character is no reason to crash


def _hashed(password: bytes) -> str:
    salt = secrets.token_bytes(SALT_BYTES)
    return f"{_PARAMETERS}{_base64(salt)}${_base64(_digest(password, salt))}"


def _digest(password: bytes, salt: bytes) -> bytes:
    """Argon2id with our parameters: what everything here costs. Raises ServiceBusy where there is no memory for it."""
    # Verifying through the library's own function would take less code, but it says "wrong password" as well where it
    # could not get the memory.
    try:
        return nacl.pwhash.argon2id.kdf(DIGEST_BYTES, password, salt, opslimit=TIME, memlimit=MEMORY_KIB * 1024)
    except nacl.exceptions.RuntimeError:
        raise ServiceBusy(retry_after=COME_BACK) from None


def _base64(binary: bytes) -> str:
    return base64.b64encode(binary).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
