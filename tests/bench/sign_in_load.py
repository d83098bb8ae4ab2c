"""The storm of the bench: what two processors can hash, and who is answered while everybody signs in."""

import multiprocessing
import time

import nacl.pwhash

from auth_service.adapters.crypto.password_hasher import MEMORY_KIB, TIME
from tests.bench.load import CONNECTIONS, Crowd, Load
from tests.bench.registration_requests import USERS
from tests.bench.session_requests import Members, asking_for, signing_in
from tests.bench.testbed import Server

PROCESSES = 2
HEAD_START = 1.0
_fork = multiprocessing.get_context("fork")


def hashes_a_second(seconds: float) -> Load:
    """What two processes that do nothing else hash."""
    with _fork.Pool(PROCESSES) as pool:
        made = pool.map(_hashes, [seconds] * PROCESSES)
    return Load(requests=sum(made), seconds=seconds, p50=0.0, p99=0.0, failures=0)


def _hashes(seconds: float) -> int:
    until, made = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        nacl.pwhash.argon2id.kdf(32, b"correct horse battery", bytes(16), opslimit=TIME, memlimit=MEMORY_KIB * 1024)
        made += 1
    return made


def stormed(
    server: Server, found: Members, *, seconds: float, storm: int, asking: int = CONNECTIONS
) -> tuple[Load, Load]:
    """Who am I, while so many clients sign in without a pause, and how they fare."""
    crowd = Crowd(port=server.port, make_person=signing_in(found), connections=storm)
    crowd.use(seconds=HEAD_START)  # their devices are known from here on
    here, there = _fork.Pipe()
    beside = _fork.Process(target=lambda: there.send(crowd.use(seconds=seconds + HEAD_START)))
    beside.start()
    time.sleep(HEAD_START / 2)
    asker = Crowd(port=server.port, make_person=asking_for(f"{USERS}/me", found), connections=asking)
    asked = asker.use(seconds=seconds)
    signed_in: Load = here.recv()
    beside.join()
    return asked, signed_in
