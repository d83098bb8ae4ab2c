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

from tests.bench.load import CONNECTIONS, Load, LoadClient, VirtualUser
from tests.bench.registration_requests import USERS, code_reader, look_ups, registrations
from tests.bench.session_requests import Accounts, prepare_accounts, refreshes, requests_with_tokens, sign_ins
from tests.bench.sign_in_load import under_sign_in_load
from tests.bench.slow_clients import with_slow_clients
from tests.bench.testbed import ROOT, Server, Testbed, set_up

USERS_STORED = 4_000
MANY_CLIENTS, SIGN_IN_CLIENTS, CURRENT_USER_CLIENTS, SLOW_CLIENTS = 512, 64, 16, 2_000
TICKS = os.sysconf("SC_CLK_TCK")

Measure = Callable[[Server, float], Load]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One measurement of one row in one checkout."""

    load: Load
    cpu: float
    """Milliseconds of processor time of the workers per request."""


ROWS = (
    "look-up",
    "look-up, 512 clients",
    "current user",
    "refresh",
    "sign-in",
    "registration",
    "current user during sign-ins",
    "sign-ins during current user",
    "slow clients",
)


def measures(testbed: Testbed, database_url: str, accounts: Accounts) -> dict[str, Measure]:
    """The function that measures each row; its clients keep tokens and device cookies between runs."""

    def load(user: Callable[[], VirtualUser], *, connections: int = CONNECTIONS) -> Measure:
        def measure(server: Server, seconds: float) -> Load:
            return LoadClient(port=server.port, new_user=user, connections=connections).use(seconds=seconds)

        return measure

    def registration(server: Server, seconds: float) -> Load:
        with code_reader(database_url=database_url, outbox_key=testbed.secrets["OUTBOX_KEY"]) as run_steps:
            user = registrations(f"pair{uuid.uuid4().hex[:8]}")
            return LoadClient(port=server.port, new_user=user, run_steps=run_steps).use(seconds=seconds)

    def with_sign_ins(position: int) -> Measure:
        return lambda server, seconds: under_sign_in_load(
            server, accounts, seconds=seconds, sign_in_clients=SIGN_IN_CLIENTS, connections=CURRENT_USER_CLIENTS
        )[position]

    def slow(server: Server, seconds: float) -> Load:
        return with_slow_clients(server, f"{USERS}?email=person1@example.org", seconds=seconds, slow=SLOW_CLIENTS)

    return {
        "look-up": load(look_ups(USERS, users=USERS_STORED)),
        "look-up, 512 clients": load(look_ups(USERS, users=USERS_STORED), connections=MANY_CLIENTS),
        "current user": load(requests_with_tokens(f"{USERS}/me", accounts)),
        "refresh": load(refreshes(accounts)),
        "sign-in": load(sign_ins(accounts), connections=SIGN_IN_CLIENTS),
        "registration": registration,
        "current user during sign-ins": with_sign_ins(0),
        "sign-ins during current user": with_sign_ins(1),
        "slow clients": slow,
    }


def main() -> int:
    """Measure the rows and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.paired_service", description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of: {', '.join(ROWS)}; default: all")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement")
    arguments = parser.parse_args()
    rows: Sequence[str] = arguments.rows or ROWS
    if unknown := set(rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(unknown)}")
    with set_up(ROOT / ".data" / "pairs") as testbed:
        database_url = testbed.database("pairs", users=USERS_STORED)
        with (
            testbed.service(database_url) as ours,
            testbed.service(database_url, root=arguments.other.resolve()) as theirs,
        ):
            by_row = measures(testbed, database_url, prepare_accounts(testbed, ours, database_url))
            print("| row | A: rate, p99, CPU | B: rate, p99, CPU | B/A: rate | p99 | CPU of a request |")
            print("| --- | --- | --- | --- | --- | --- |", flush=True)
            for row in rows:
                for server in (ours, theirs):
                    by_row[row](server, min(2.0, arguments.seconds))
                pairs = [
                    pair(row, by_row[row], ours, theirs, arguments.seconds, number) for number in range(arguments.pairs)
                ]
                print(line(row, pairs), flush=True)
    return 0


def pair(row: str, measure: Measure, ours: Server, theirs: Server, seconds: float, number: int) -> tuple[Run, Run]:
    """Measure A and B; the order alternates, so that a trend of the machine favours neither."""
    if number % 2 == 0:
        return measured(row, measure, ours, seconds), measured(row, measure, theirs, seconds)
    b = measured(row, measure, theirs, seconds)
    return measured(row, measure, ours, seconds), b


def measured(row: str, measure: Measure, server: Server, seconds: float) -> Run:
    """Measure one row in one checkout, with the processor time of its workers."""
    before = sum(map(processor_time, server.workers))
    load = measure(server, seconds)
    processor = sum(map(processor_time, server.workers)) - before
    print(
        f"  {row}: {load.rate:,.0f}/s, p99 {load.p99 * 1000:,.0f} ms, {load.failures} failed, "
        f"{load.unavailable} got 503, workers {processor:.2f} s",
        file=sys.stderr,
        flush=True,
    )
    return Run(load=load, cpu=1000 * processor / max(1, load.requests))


def processor_time(pid: int) -> float:
    """The processor seconds of all threads of a process, including ended ones."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def line(row: str, pairs: Sequence[tuple[Run, Run]]) -> str:
    """A row of the table: the medians of both checkouts, and the median and range of the ratios."""
    sides = []
    for position in range(2):
        runs = [pair[position] for pair in pairs]
        rate, p99, cpu = (
            statistics.median(values)
            for values in ([run.load.rate for run in runs], [run.load.p99 for run in runs], [run.cpu for run in runs])
        )
        counts = {
            "failed": sum(run.load.failures for run in runs),
            "got 503": sum(run.load.unavailable for run in runs),
        }
        others = "".join(f", {count} {name}" for name, count in counts.items() if count)
        sides.append(f"{rate:,.0f}/s, {p99 * 1000:,.0f} ms, {cpu:.2f} ms{others}")
    return f"| {row} | {' | '.join(sides)} | {ratio(pairs, _rate)} | {ratio(pairs, _p99)} | {ratio(pairs, _cpu)} |"


def ratio(pairs: Sequence[tuple[Run, Run]], figure: Callable[[Run], float]) -> str:
    """The median and range of B/A over the pairs with requests in both."""
    ratios = sorted(figure(b) / figure(a) for a, b in pairs if a.load.requests and b.load.requests and figure(a))
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
