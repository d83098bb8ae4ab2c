"""Argon2id password hashing: PHC form, bounded queue, low-priority threads, constant work for unknown users."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import argon2
import nacl.exceptions
import nacl.pwhash
import pytest

import auth_service
from auth_service.adapters.crypto.password_hasher import NICENESS, PasswordHasher, PasswordMatch
from auth_service.errors import ServiceBusy

PASSWORD = "correct horse battery"
ANOTHER = "another horse battery"
RIGHT = PasswordMatch(matches=True, outdated=False)
WRONG = PasswordMatch(matches=False, outdated=False)
OUTDATED = PasswordMatch(matches=True, outdated=True)

OURS: dict[str, Any] = {"time_cost": 2, "memory_cost": 19456, "parallelism": 1, "hash_len": 32, "salt_len": 16}

OF_DJANGO = "pbkdf2_sha256$1000$uUc1LAqyJX47QsGope8axg$cfLTciCMXxXNb8F8gbqugnewcJ9VfbKiaUGFtJN8p9A="

compute = nacl.pwhash.argon2id.kdf

T = TypeVar("T")


class Library:
    """The real library, which records its calls and computes only while the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.calls: list[dict[str, Any]] = []
        self.passwords: list[bytes] = []
        self._lock = threading.Lock()
        self._at_work = 0
        self.most_at_once = 0

    def kdf(self, size: int, password: bytes, salt: bytes, **costs: Any) -> bytes:
        """Compute as libsodium does."""
        with self._lock:
            self.passwords.append(password)
            self.calls.append({"size": size, "salt": len(salt), **costs})
            self._at_work += 1
            self.most_at_once = max(self.most_at_once, self._at_work)
        self.begun.release()
        assert self.gate.wait(20)
        try:
            return compute(size, password, salt, **costs)
        finally:
            with self._lock:
                self._at_work -= 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """The library, whose calls are recorded and can be blocked."""
    watched = Library()
    monkeypatch.setattr(nacl.pwhash.argon2id, "kdf", watched.kdf)
    yield watched
    watched.gate.set()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    """Threads of concurrent requests."""
    with ThreadPoolExecutor(40) as threads:
        yield threads


@pytest.fixture(scope="module")
def hasher() -> PasswordHasher:
    """A hasher with a long time limit, for slow machines."""
    return PasswordHasher(concurrent=2, patience=timedelta(seconds=60))


def test_pw5_other_libraries_verify_the_hashes(hasher: PasswordHasher) -> None:
    password_hash, other = hasher.hash(PASSWORD), hasher.hash(PASSWORD)

    assert password_hash != other, "each has a salt of its own"
    assert password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert argon2.PasswordHasher(**OURS).verify(password_hash, PASSWORD)
    assert not argon2.PasswordHasher(**OURS).check_needs_rehash(password_hash)
    assert nacl.pwhash.verify(password_hash.encode(), PASSWORD.encode())
    assert hasher.verify(PASSWORD, password_hash) == RIGHT
    assert hasher.verify(PASSWORD + "!", password_hash) == WRONG


def test_pw5_hashes_of_other_libraries_with_the_same_parameters_are_not_outdated(hasher: PasswordHasher) -> None:
    of_argon2 = argon2.PasswordHasher(**OURS).hash(PASSWORD)
    of_sodium = nacl.pwhash.argon2id.str(PASSWORD.encode(), opslimit=2, memlimit=19456 * 1024).decode()

    assert hasher.verify(PASSWORD, of_argon2) == RIGHT
    assert hasher.verify(PASSWORD, of_sodium) == RIGHT


@pytest.mark.parametrize(
    "other",
    [
        {"time_cost": 3},
        {"memory_cost": 1024},
        {"memory_cost": 65536},
        {"parallelism": 4},
        {"hash_len": 16},
        {"salt_len": 24},
        {"type": argon2.Type.I, "time_cost": 3},
    ],
    ids=str,
)
def test_pw5_other_parameters_match_and_are_outdated(hasher: PasswordHasher, other: dict[str, Any]) -> None:
    password_hash = argon2.PasswordHasher(**(OURS | other)).hash(PASSWORD)

    assert hasher.verify(PASSWORD, password_hash) == OUTDATED
    assert hasher.verify(PASSWORD + "!", password_hash) == WRONG


def test_pw5_hashes_of_other_systems_match_and_are_outdated(hasher: PasswordHasher) -> None:
    assert hasher.verify(PASSWORD, OF_DJANGO) == OUTDATED
    assert hasher.verify(PASSWORD + "!", OF_DJANGO) == WRONG


def test_legacy_hashes_are_compared_without_unicode_normalisation(hasher: PasswordHasher) -> None:
    typed, normalised = "ﬁsh ①②③④", "fish 1234"
    of_werkzeug = "pbkdf2:sha256:1000$cpdiSTDakZMadwo0$9fd1ce76ef88c7fc5540782b5d4800077b3173d36d2734e513b94b4ec4c43b49"

    assert hasher.verify(normalised, of_werkzeug, typed=typed) == OUTDATED
    assert hasher.verify(normalised, of_werkzeug) == WRONG
    assert hasher.verify(normalised, hasher.hash(normalised), typed=typed) == RIGHT
    assert hasher.verify(normalised, hasher.hash(typed), typed=typed) == WRONG, (
        "the service hashes the normalised password"
    )


@pytest.mark.parametrize("unusable", [None, "", "!", "!unusable", PASSWORD, "$argon2id$v=19$m=19456,t=2,p=1$$"])
def test_pw8_pw11_without_a_hash_no_password_matches_and_the_work_is_the_same(
    hasher: PasswordHasher, library: Library, unusable: str | None
) -> None:
    password_hash = hasher.hash(PASSWORD)
    library.calls.clear()

    assert hasher.verify(PASSWORD + "!", password_hash) == WRONG
    for password in (PASSWORD, "", unusable or ""):
        assert hasher.verify(password, unusable) == WRONG

    wrong, *unknown = library.calls
    assert wrong == {"size": 32, "salt": 16, "opslimit": 2, "memlimit": 19456 * 1024}
    assert unknown == [wrong] * 3


def test_pw11_the_empty_password_matches_nothing(hasher: PasswordHasher) -> None:
    nothing = hasher.hash("")
    nothing_elsewhere = argon2.PasswordHasher(**(OURS | {"memory_cost": 1024})).hash("")

    assert hasher.verify("", nothing) == WRONG
    assert hasher.verify("", nothing_elsewhere) == WRONG


def test_lone_surrogates_are_valid_in_passwords(hasher: PasswordHasher) -> None:
    password_hash = hasher.hash("\ud800")

    assert hasher.verify("\ud800", password_hash) == RIGHT
    assert hasher.verify("?", password_hash) == WRONG


def test_pw6_requests_beyond_the_queue_are_rejected_immediately(library: Library, callers: ThreadPoolExecutor) -> None:
    hasher = PasswordHasher(concurrent=2, waiting=3, patience=timedelta(seconds=60))
    library.gate.clear()
    futures = [callers.submit(hasher.hash, PASSWORD) for _ in range(40)]
    for _ in range(2):
        assert library.begun.acquire(timeout=20)

    rejected = list(islice(as_completed(futures, timeout=20), 35))
    assert all(isinstance(future.exception(), ServiceBusy) for future in rejected)
    with pytest.raises(ServiceBusy) as busy:
        hasher.verify(PASSWORD, None)
    assert busy.value.retry_after == 2

    library.gate.set()
    hashes = [future.result(timeout=60) for future in futures if future not in rejected]
    assert len(hashes) == 5, "two were computed and three waited"
    assert library.most_at_once == 2
    assert hasher.verify(PASSWORD, hashes[0]) == RIGHT


def when_free(work: Callable[[], T]) -> T:
    """The result of work that is repeated while the hasher is busy, because a slow machine exceeds a short limit."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return work()
        except ServiceBusy:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_pw6_requests_that_wait_too_long_are_rejected_and_never_computed(library: Library) -> None:
    hasher = PasswordHasher(concurrent=1, waiting=1, patience=timedelta(milliseconds=500))
    library.gate.clear()
    for _ in range(5):  # the first one is computed all the time; the others wait, time out and leave the queue
        began = time.monotonic()
        with pytest.raises(ServiceBusy):
            hasher.hash(PASSWORD)
        assert time.monotonic() - began >= 0.5

    library.gate.set()
    password_hash = when_free(lambda: hasher.hash(ANOTHER))

    assert when_free(lambda: hasher.verify(ANOTHER, password_hash)) == RIGHT
    assert library.passwords.count(PASSWORD.encode()) == 1, "requests that left the queue were never computed"


def test_places_in_the_queue_are_released(library: Library) -> None:
    hasher = PasswordHasher(concurrent=1, waiting=0, patience=timedelta(seconds=60))

    assert len({hasher.hash(PASSWORD) for _ in range(10)}) == 10


def test_without_memory_or_threads_the_service_is_busy_and_the_password_not_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasher = PasswordHasher(concurrent=1, waiting=0, patience=timedelta(seconds=60))
    password_hash = argon2.PasswordHasher(**OURS).hash(PASSWORD)

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    def no_memory(*_: object, **__: object) -> bytes:
        raise nacl.exceptions.RuntimeError("Unexpected failure in key derivation")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(ServiceBusy):
            hasher.verify(PASSWORD, password_hash)
    with monkeypatch.context() as patch:
        patch.setattr(nacl.pwhash.argon2id, "kdf", no_memory)
        with pytest.raises(ServiceBusy):
            hasher.verify(PASSWORD, password_hash)
    assert hasher.verify(PASSWORD, password_hash) == RIGHT


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_hashing_threads_have_a_lower_priority_than_request_threads(
    library: Library, callers: ThreadPoolExecutor
) -> None:
    before = set(threading.enumerate())
    hasher = PasswordHasher(concurrent=2, patience=timedelta(seconds=60))
    library.gate.clear()
    futures = [callers.submit(hasher.hash, PASSWORD) for _ in range(2)]
    for _ in range(2):
        assert library.begun.acquire(timeout=20)

    threads = [thread for thread in threading.enumerate() if thread.name.startswith("hashing")]
    niceness = {
        thread: os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) for thread in threads if thread not in before
    }
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    library.gate.set()
    for future in futures:
        future.result(timeout=20)

    assert len(niceness) == 2
    assert set(niceness.values()) == {min(own + NICENESS, 19)}


FORKS = """
import os, sys
from auth_service.adapters.crypto.password_hasher import PasswordHasher

hasher = PasswordHasher(concurrent=1)
phc = hasher.hash("correct horse battery")  # the parent has its thread now; the child must not wait for it
child = os.fork()
if child == 0:
    os._exit(0 if hasher.verify("correct horse battery", phc).matches else 1)
_, status = os.waitpid(child, 0)
assert hasher.verify("correct horse battery", phc).matches
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_process_hashes_on_threads_of_its_own() -> None:
    source = Path(auth_service.__file__).parents[1]

    ended = subprocess.run(
        [sys.executable, "-c", FORKS],
        env=os.environ | {"PYTHONPATH": str(source)},
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stderr


def test_no_thread_is_started_before_it_is_needed() -> None:
    before = threading.active_count()

    PasswordHasher(concurrent=4)

    assert threading.active_count() == before
