"""Measures which library hashes passwords faster here: `PYTHONPATH=src python -m tests.bench.hashing`, some minutes.

Machines are shared and noisy, so both libraries take turns hash by hash, on two threads at once, and what counts is
their ratio. libsodium fetches its memory from the kernel itself, whatever malloc is told, and chooses its instructions
when it starts: it is the measure for everything that can be done with the other one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import argon2
import nacl.pwhash

from auth_service.adapters.crypto.password_hasher import MEMORY_KIB, TIME

PASSWORD = b"correct horse battery"
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_ARENA_MAX": "4"}
HUGE = KEPT | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
ENVIRONMENTS = {"malloc as it is": {}, "malloc keeps freed memory": KEPT, "and asks for huge pages": HUGE}


def verifiers() -> dict[str, Callable[[], object]]:
    """One verification of the right password by each library."""
    hasher = argon2.PasswordHasher(time_cost=TIME, memory_cost=MEMORY_KIB, parallelism=1, hash_len=32, salt_len=16)
    password_hash = hasher.hash(PASSWORD)
    return {
        "libsodium": lambda: nacl.pwhash.verify(password_hash.encode(), PASSWORD),
        "argon2-cffi": lambda: hasher.verify(password_hash, PASSWORD),
    }


def turn(*, threads: int, hashes: int) -> dict[str, list[float]]:
    """Verify with one library after the other; returns by how much libsodium is slower, in elapsed and in own time."""
    ratios: dict[str, list[float]] = {"elapsed": [], "processor": []}
    ready = threading.Barrier(threads)

    def work() -> None:
        libraries = verifiers()
        for verify in libraries.values():
            verify()  # the first one also fetches what it keeps
        ready.wait()
        for _ in range(hashes):
            took: dict[str, tuple[float, float]] = {}
            for name, verify in libraries.items():
                elapsed, processor = time.monotonic(), time.thread_time()
                verify()
                took[name] = time.monotonic() - elapsed, time.thread_time() - processor
            for kind, sodium, cffi in zip(ratios, took["libsodium"], took["argon2-cffi"], strict=True):
                ratios[kind].append(sodium / cffi)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return ratios


def measured(python: str, environment: dict[str, str], *, threads: int, hashes: int) -> dict[str, float]:
    """The medians of a turn in a process of its own, because malloc reads its settings only when it starts."""
    command = [python, "-m", "tests.bench.hashing", "--turn", "--threads", str(threads), "--hashes", str(hashes)]
    ended = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    return {kind: statistics.median(ratios) for kind, ratios in json.loads(ended.stdout).items()}


def main() -> None:
    """Measure every combination in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hashes", type=int, default=50, help="of each library, a thread and a round")
    parser.add_argument(
        "--native", metavar="PYTHON", help="an interpreter whose argon2-cffi was built for this machine"
    )
    parser.add_argument("--turn", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.turn:
        print(json.dumps(turn(threads=asked.threads, hashes=asked.hashes)))
        return

    pythons = {"wheel": sys.executable} | ({"built for this processor": asked.native} if asked.native else {})
    rounds: dict[tuple[str, str], list[dict[str, float]]] = {(b, e): [] for b in pythons for e in ENVIRONMENTS}
    for _ in range(asked.rounds):
        for (build, environment), results in rounds.items():
            size = {"threads": asked.threads, "hashes": asked.hashes}
            results.append(measured(pythons[build], ENVIRONMENTS[environment], **size))
    print(f"Argon2id m={MEMORY_KIB},t={TIME},p=1 on {asked.threads} threads, medians of {asked.rounds} rounds")
    print("| argon2-cffi | malloc | its hashes a second, libsodium = 1 (lowest to highest round) | by processor time |")
    print("| --- | --- | --- | --- |")
    for (build, environment), results in rounds.items():
        cells = []
        for kind in ("elapsed", "processor"):
            column = [result[kind] for result in results]
            cells.append(f"{statistics.median(column):.2f} ({min(column):.2f} to {max(column):.2f})")
        print(f"| {build} | {environment} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
