"""Paired benchmark of the service: two checkouts, alternately, on the same engines, compared by the median of ratios.

`PYTHONPATH=src python -m tests.bench.paired_service OTHER [ROW…]` compares this checkout (A) with the one in the folder
OTHER (B), which must have the same tables. The machine may be busy, so A and B alternate, and the most reliable figure
is the processor time of the workers for one request.
"""

import argparse
import os
import statistics
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import CONNECTIONS, Crowd, Load, UserRecord
from tests.bench.registration_requests import USERS, letterbox, looking_up, registering
from tests.bench.session_requests import Members, asking_for, members, refreshing, signing_in
from tests.bench.sign_in_load import stormed
from tests.bench.slow_clients import beside_slow_clients
from tests.bench.testbed import ROOT, Server, Stage, set_up

FEW = 4_000
CROWD, STORM, ASKING, SLOW = 512, 64, 16, 2_000
TICKS = os.sysconf("SC_CLK_TCK")

Measure = Callable[[Server, float], Load]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One row of one side, measured once."""

    load: Load
    cpu: float
    """Milliseconds of processor time that the workers spent on one answered request."""


ROWS = (
    "look-up",
    "look-up, 512 clients",
    "who am I",
    "refresh",
    "sign-in",
    "registration",
    "storm",
    "sign-ins in the storm",
    "slow clients",
)


def measures(stage: Stage, database_url: str, known: Members) -> dict[str, Measure]:
    """How each row is measured. Made once: the clients keep their tokens and devices from one run to the next."""

    def crowd(user: Callable[[], UserRecord], *, connections: int = CONNECTIONS) -> Measure:
        def measure(server: Server, seconds: float) -> Load:
            return Crowd(port=server.port, make_person=user, connections=connections).use(seconds=seconds)

        return measure

    def registration(server: Server, seconds: float) -> Load:
        with letterbox(database_url=database_url, outbox_key=stage.secrets["OUTBOX_KEY"]) as run_errands:
            user = registering(f"pair{uuid.uuid4().hex[:8]}")
            return Crowd(port=server.port, make_person=user, run_errands=run_errands).use(seconds=seconds)

    def storm(position: int) -> Measure:
        return lambda server, seconds: stormed(server, known, seconds=seconds, storm=STORM, asking=ASKING)[position]

    def slow(server: Server, seconds: float) -> Load:
        return beside_slow_clients(server, f"{USERS}?email=person1@example.org", seconds=seconds, slow=SLOW)

    return {
        "look-up": crowd(looking_up(USERS, users=FEW)),
        "look-up, 512 clients": crowd(looking_up(USERS, users=FEW), connections=CROWD),
        "who am I": crowd(asking_for(f"{USERS}/me", known)),
        "refresh": crowd(refreshing(known)),
        "sign-in": crowd(signing_in(known), connections=STORM),
        "registration": registration,
        "storm": storm(0),
        "sign-ins in the storm": storm(1),
        "slow clients": slow,
    }


def main() -> int:
    """Print one line for each row."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.paired_service", description=__doc__)
    parser.add_argument("other", type=Path, help="the checkout to compare this one with")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}; all of them if none is named")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement")
    asked = parser.parse_args()
    rows: Sequence[str] = asked.rows or ROWS
    if unknown := set(rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(unknown)}")
    with set_up(ROOT / ".data" / "pairs") as stage:
        database_url = stage.database("pairs", users=FEW)
        with stage.service(database_url) as here, stage.service(database_url, root=asked.other.resolve()) as there:
            by_row = measures(stage, database_url, members(stage, here, database_url))
            print("| row | A: rate, p99, CPU | B: rate, p99, CPU | B/A: rate | p99 | CPU of a request |")
            print("| --- | --- | --- | --- | --- | --- |", flush=True)
            for row in rows:
                for server in (here, there):
                    by_row[row](server, min(2.0, asked.seconds))
                pairs = [pair(row, by_row[row], here, there, asked.seconds, number) for number in range(asked.pairs)]
                print(line(row, pairs), flush=True)
    return 0


def pair(row: str, measure: Measure, here: Server, there: Server, seconds: float, number: int) -> tuple[Run, Run]:
    """Measure A and B, in pairs of odd number B before A: what goes up or down meanwhile favours neither."""
    if number % 2 == 0:
        return measured(row, measure, here, seconds), measured(row, measure, there, seconds)
    other = measured(row, measure, there, seconds)
    return measured(row, measure, here, seconds), other


def measured(row: str, measure: Measure, server: Server, seconds: float) -> Run:
    """Measure one row of one side, with the processor time of its workers."""
    before = sum(map(processor_time, server.workers))
    load = measure(server, seconds)
    spent = sum(map(processor_time, server.workers)) - before
    print(
        f"  {row}: {load.rate:,.0f}/s, p99 {load.p99 * 1000:,.0f} ms, {load.failures} failed, "
        f"{load.sent_away} told to come back, workers {spent:.2f} s",
        file=sys.stderr,
        flush=True,
    )
    return Run(load=load, cpu=1000 * spent / max(1, load.requests))


def processor_time(pid: int) -> float:
    """Seconds that all threads of a process have spent, those that ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def line(row: str, pairs: Sequence[tuple[Run, Run]]) -> str:
    """A row of the table: medians of both, and the median of the ratios with its range."""
    sides = []
    for position in range(2):
        runs = [pair[position] for pair in pairs]
        rate, p99, cpu = (
            statistics.median(values)
            for values in ([run.load.rate for run in runs], [run.load.p99 for run in runs], [run.cpu for run in runs])
        )
        counts = {
            "failed": sum(run.load.failures for run in runs),
            "answered 503": sum(run.load.sent_away for run in runs),
        }
        others = "".join(f", {count} {name}" for name, count in counts.items() if count)
        sides.append(f"{rate:,.0f}/s, {p99 * 1000:,.0f} ms, {cpu:.2f} ms{others}")
    return f"| {row} | {' | '.join(sides)} | {ratio(pairs, _rate)} | {ratio(pairs, _p99)} | {ratio(pairs, _cpu)} |"


def ratio(pairs: Sequence[tuple[Run, Run]], of: Callable[[Run], float]) -> str:
    """The median of B/A over the pairs in which both were served, and the range."""
    ratios = sorted(of(b) / of(a) for a, b in pairs if a.load.requests and b.load.requests and of(a))
    if not ratios:
        return "none"
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _rate(run: Run) -> float:
    return run.load.rate


def _p99(run: Run) -> float:
    return run.load.p99


def _cpu(run: Run) -> float:
    return run.cpu


if __name__ == "__main__":
    sys.exit(main())
