"""Password hashing benchmark: argon2-cffi compared with libsodium.

`PYTHONPATH=src python -m tests.bench.hashing` takes some minutes. Machines are shared and noisy, so both libraries hash
alternately on two threads, and the result is their ratio. libsodium allocates its memory directly from the kernel,
independent of the settings of malloc, and selects its CPU instructions at runtime: it is the reference for all
settings and builds of argon2-cffi.
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
KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_ARENA_MAX": "4",
}
HUGE_PAGES = KEPT_MEMORY | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
ENVIRONMENTS = {"malloc as it is": {}, "malloc keeps freed memory": KEPT_MEMORY, "and asks for huge pages": HUGE_PAGES}


def verifiers() -> dict[str, Callable[[], object]]:
    """One verification of the right password by each library."""
    hasher = argon2.PasswordHasher(time_cost=TIME, memory_cost=MEMORY_KIB, parallelism=1, hash_len=32, salt_len=16)
    password_hash = hasher.hash(PASSWORD)
    return {
        "libsodium": lambda: nacl.pwhash.verify(password_hash.encode(), PASSWORD),
        "argon2-cffi": lambda: hasher.verify(password_hash, PASSWORD),
    }


def turn(*, threads: int, hashes: int) -> dict[str, list[float]]:
    """Verify with both libraries alternately; returns the ratios libsodium / argon2-cffi, elapsed and processor."""
    ratios: dict[str, list[float]] = {"elapsed": [], "processor": []}
    ready = threading.Barrier(threads)

    def work() -> None:
        libraries = verifiers()
        for verify in libraries.values():
            verify()  # the first call also allocates the memory that malloc keeps
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
    """The median ratios from a new process, since malloc reads its settings only at the start."""
    command = [python, "-m", "tests.bench.hashing", "--turn", "--threads", str(threads), "--hashes", str(hashes)]
    process = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    return {kind: statistics.median(ratios) for kind, ratios in json.loads(process.stdout).items()}


def main() -> None:
    """Measure all combinations alternately and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hashes", type=int, default=50, help="hashes of each library per thread and round")
    parser.add_argument(
        "--native", metavar="PYTHON", help="an interpreter whose argon2-cffi was built for this machine"
    )
    parser.add_argument("--turn", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        print(json.dumps(turn(threads=arguments.threads, hashes=arguments.hashes)))
        return

    pythons = {"wheel": sys.executable} | ({"built for this processor": arguments.native} if arguments.native else {})
    rounds: dict[tuple[str, str], list[dict[str, float]]] = {(b, e): [] for b in pythons for e in ENVIRONMENTS}
    for _ in range(arguments.rounds):
        for (build, environment), results in rounds.items():
            size = {"threads": arguments.threads, "hashes": arguments.hashes}
            results.append(measured(pythons[build], ENVIRONMENTS[environment], **size))
    print(f"Argon2id m={MEMORY_KIB},t={TIME},p=1 on {arguments.threads} threads, medians of {arguments.rounds} rounds")
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
