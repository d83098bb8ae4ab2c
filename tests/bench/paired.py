"""Paired benchmark: this checkout beside another commit, in one run, in turn.

`make bench_paired AGAINST=REF` checks REF (HEAD~1) out into `.data`, serves both over databases of the same PostgreSQL,
and measures them alternately, so that whatever else the machine does hits both.
For each operation it prints the median of the rounds' ratios, this checkout to the other: of requests a second, and of
the processor time of the service and of PostgreSQL that one request takes. The second is nearly free of noise.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.__main__ import Measure, as_members, flow, get, say
from tests.bench.members import asking_for, members, refreshing, signing_in
from tests.bench.people import USERS
from tests.bench.stage import ROOT, Server, Stage, set_up

PEOPLE = 1_000
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One checkout that serves, and what is measured on it."""

    server: Server
    measures: dict[str, Measure]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Requests a second, and processor seconds of one request."""

    rate: float
    service: float
    postgres: float


def main() -> int:
    """Measure both and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.paired", description=__doc__)
    parser.add_argument("--against", default="HEAD~1", help="the other commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", nargs="*", help="names of operations")
    options = parser.parse_args()
    with set_up(ROOT / ".data" / "paired") as stage, checked_out(options.against) as other:
        ratios = measured(stage, other, rounds=options.rounds, seconds=options.seconds, only=options.only)
    print(f"{'this checkout to ' + options.against:40} {'rate':>8} {'CPU':>8} {'CPU of PostgreSQL':>18}")
    for name, found in ratios.items():
        print(f"{name:40} {found.rate:8.3f} {found.service:8.3f} {found.postgres:18.3f}")
    return 0


@contextmanager
def checked_out(ref: str) -> Iterator[Path]:
    """A work tree of a commit, removed in the end."""
    folder = ROOT / ".data" / "paired-checkout"
    shutil.rmtree(folder, ignore_errors=True)
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "prune"], check=True)
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), ref], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def measured(stage: Stage, other: Path, *, rounds: int, seconds: float, only: list[str] | None) -> dict[str, Figures]:
    """The medians of the ratios, by operation."""
    # One schema for both, the newer one: each release serves on the schema of the next.
    urls = [stage.database(name, users=PEOPLE) for name in ("this", "other")]
    with stage.service(urls[0]) as one, stage.service(urls[1], root=other) as two:
        pairs = zip((one, two), urls, strict=True)
        sides = [Side(server=server, measures=operations(stage, server, url)) for server, url in pairs]
        names = [name for name in sides[0].measures if not only or name in only]
        ratios: dict[str, list[Figures]] = {name: [] for name in names}
        for number in range(rounds + 1):
            for name in names:
                # The order changes with the round, so that neither is always the one that runs after the other.
                order = sides if number % 2 else sides[::-1]
                found = {id(side): cost(stage, side, name, seconds=seconds) for side in order}
                if number == 0:  # the first round warms both up
                    continue
                ratios[name].append(_ratio(*(found[id(side)] for side in sides)))
                say(f"round {number} of {rounds}: {name}: rate {ratios[name][-1].rate:.3f}")
    return {
        name: Figures(
            rate=statistics.median(each.rate for each in found),
            service=statistics.median(each.service for each in found),
            postgres=statistics.median(each.postgres for each in found),
        )
        for name, found in ratios.items()
    }


def operations(stage: Stage, server: Server, database_url: str) -> dict[str, Measure]:
    """What is measured on one side."""
    known = members(stage, server, database_url)
    return {
        "registration": flow(stage, server, database_url),
        "look-up": get(server, USERS, users=PEOPLE),
        "who am I": as_members(server, asking_for(f"{USERS}/me", known)),
        "refresh": as_members(server, refreshing(known)),
        "sign-in": as_members(server, signing_in(known), connections=64),
    }


def cost(stage: Stage, side: Side, name: str, *, seconds: float) -> Figures:
    """Measure one operation once."""
    before = _cpu(side.server.workers), _cpu(_children(stage.engines.postgres.pid))
    load = side.measures[name](seconds)
    if load.failures:
        raise SystemExit(f"{name}: {load.failures} requests failed; these figures mean nothing")
    after = _cpu(side.server.workers), _cpu(_children(stage.engines.postgres.pid))
    requests = max(load.rate * seconds, 1)
    return Figures(
        rate=load.rate, service=(after[0] - before[0]) / requests, postgres=(after[1] - before[1]) / requests
    )


def _ratio(this: Figures, other: Figures) -> Figures:
    return Figures(
        rate=this.rate / other.rate, service=this.service / other.service, postgres=this.postgres / other.postgres
    )


def _children(pid: int | None) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu(pids: list[int]) -> float:
    """Processor seconds that processes have used."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:  # a backend that has ended
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICK


if __name__ == "__main__":
    sys.exit(main())
