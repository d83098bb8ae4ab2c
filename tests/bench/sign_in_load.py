"""Sign-in load: password hashes per second of two processors, and current-user requests during sign-ins."""

import multiprocessing
import time

import nacl.pwhash

from auth_service.adapters.crypto.password_hasher import MEMORY_KIB, TIME
from tests.bench.load import CONNECTIONS, Load, LoadClient
from tests.bench.registration_requests import USERS
from tests.bench.session_requests import Accounts, requests_with_tokens, sign_ins
from tests.bench.testbed import Server

PROCESSES = 2
HEAD_START = 1.0
_fork = multiprocessing.get_context("fork")


def hashes_a_second(seconds: float) -> Load:
    """The password hashes of two processes that do nothing else."""
    with _fork.Pool(PROCESSES) as pool:
        hashes = pool.map(_hashes, [seconds] * PROCESSES)
    return Load(requests=sum(hashes), seconds=seconds, p50=0.0, p99=0.0, failures=0)


def _hashes(seconds: float) -> int:
    until, hashes = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        nacl.pwhash.argon2id.kdf(32, b"correct horse battery", bytes(16), opslimit=TIME, memlimit=MEMORY_KIB * 1024)
        hashes += 1
    return hashes


def under_sign_in_load(
    server: Server, accounts: Accounts, *, seconds: float, sign_in_clients: int, connections: int = CONNECTIONS
) -> tuple[Load, Load]:
    """Current-user requests while other clients sign in without a pause; returns the load of both."""
    client = LoadClient(port=server.port, new_user=sign_ins(accounts), connections=sign_in_clients)
    client.use(seconds=HEAD_START)  # makes their devices known devices
    receiver, sender = _fork.Pipe()
    process = _fork.Process(target=lambda: sender.send(client.use(seconds=seconds + HEAD_START)))
    process.start()
    time.sleep(HEAD_START / 2)
    current_user_client = LoadClient(
        port=server.port, new_user=requests_with_tokens(f"{USERS}/me", accounts), connections=connections
    )
    current_user = current_user_client.use(seconds=seconds)
    signed_in: Load = receiver.recv()
    process.join()
    return current_user, signed_in
