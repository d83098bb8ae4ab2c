"""Paired benchmark of components: email rendering, mail worker and look-ups of this checkout and another one.

`PYTHONPATH=src python -m tests.bench.paired_components OTHER [WHAT …]`. OTHER is the folder of the other checkout, for
example `git worktree add /tmp/before 31e262d`. WHAT is any of `rendering`, `emails`, `look-ups`; the default is all of
them. Machines are shared and noisy, so the two checkouts are measured alternately. The result is the median of the
ratios of the pairs: other / this, above 1 where this checkout takes less processor time, or answers fewer requests.
Processor time is the better measure; the rate is only an indication unless the machine was otherwise idle.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.emails import emails_a_second
from tests.bench.load import WRK, wrk
from tests.bench.registration_requests import USERS
from tests.bench.testbed import ROOT, Server, Testbed, processor_seconds, set_up

USERS_STORED = 1_000
EMAILS = 1_000

Figures = dict[str, float]
Measure = Callable[[], Figures]

RENDER = """
import json, time
from datetime import UTC, datetime
from auth_service.services.email import rendering

def render(language, service):
    return rendering.render(
        "registration_code", language, to="ada@example.org", sender="no-reply@example.org", date=datetime.now(UTC),
        message_id="<1@example.org>", values={"service": service, "code": "750505", "minutes": 10},
    ).as_bytes()

figures = {}
for language, service in (("en", "Portal"), ("ru", "Портал")):
    render(language, service)
    began = time.process_time()
    for _ in range(1000):
        render(language, service)
    figures[f"processor µs, {language}"] = (time.process_time() - began) * 1000
print(json.dumps(figures))
"""


def rendering(checkout: Path) -> Figures:
    """The processor time of rendering one email into bytes."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-c", RENDER]
    process = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return {name: float(figure) for name, figure in json.loads(process.stdout).items()}


def emails(testbed: Testbed, database_url: str, checkout: Path) -> Figures:
    """The rate and processor time of one mail worker."""
    rate, processor = emails_a_second(testbed, database_url, emails=EMAILS, checkout=checkout)
    return {"emails a second": rate, "processor µs an email": processor * 1e6}


def look_ups(server: Server, *, seconds: float) -> Figures:
    """The rate, p99 and processor time of look-ups of random addresses."""
    before = sum(map(processor_seconds, server.workers))
    load = wrk(port=server.port, seconds=seconds, arguments=["random", USERS, str(USERS_STORED)])
    if load.failures:
        raise SystemExit(f"{load.failures} requests failed; these figures mean nothing")
    processor = sum(map(processor_seconds, server.workers)) - before
    return {
        "requests a second": load.rate,
        "p99 in ms": load.p99 * 1000,
        "processor µs a request": processor / load.requests * 1e6,
    }


def in_pairs(name: str, this: Measure, other: Measure, *, pairs: int) -> None:
    """Measure both alternately and print a row for each figure."""
    results: list[tuple[Figures, Figures]] = []
    for number in range(pairs):
        # The order alternates, so that warm caches do not favour one checkout.
        if number % 2:
            second = other()
            results.append((this(), second))
        else:
            results.append((this(), other()))
        print(f"{name}, pair {number + 1} of {pairs}: {results[-1]}", file=sys.stderr, flush=True)
    for figure in results[0][0]:
        ratios = sorted(theirs[figure] / ours[figure] for ours, theirs in results)
        ours, theirs = (statistics.median(pair[side][figure] for pair in results) for side in (0, 1))
        print(
            f"| {name}: {figure} | {ours:,.0f} | {theirs:,.0f} | {statistics.median(ratios):.2f}"
            f" ({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
            flush=True,
        )


@contextmanager
def both_services(testbed: Testbed, database_url: str, other: Path) -> Iterator[tuple[Server, Server]]:
    """The services of both checkouts on one database."""
    with testbed.service(database_url) as ours, testbed.service(database_url, root=other) as theirs:
        yield ours, theirs


def main() -> None:
    """Measure the requested components."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.paired_components", description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("what", nargs="*", choices=["rendering", "emails", "look-ups", []])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument(
        "--seconds", type=int, default=5, help="of look-ups; many short pairs reduce the effect of noise"
    )
    arguments = parser.parse_args()
    other, pairs = arguments.other.resolve(), arguments.pairs
    what = set(arguments.what or ["rendering", "emails", "look-ups"])
    if "look-ups" in what and not WRK:
        raise SystemExit("look-ups need wrk; on Debian: apt install wrk")
    print("| what | this | other | other / this, median (lowest to highest pair) |\n| --- | --- | --- | --- |")
    if "rendering" in what:
        in_pairs("rendering", lambda: rendering(ROOT), lambda: rendering(other), pairs=pairs)
    if what == {"rendering"}:
        return
    with set_up(ROOT / ".data" / "paired_components") as testbed:
        database_url = testbed.database("paired_components", users=USERS_STORED)
        if "emails" in what:
            in_pairs(
                "mail worker",
                lambda: emails(testbed, database_url, ROOT),
                lambda: emails(testbed, database_url, other),
                pairs=pairs,
            )
        if "look-ups" in what:
            with both_services(testbed, database_url, other) as (ours, theirs):
                seconds: int = arguments.seconds
                for server in (ours, theirs):
                    look_ups(server, seconds=2)
                in_pairs(
                    "look-up",
                    lambda: look_ups(ours, seconds=seconds),
                    lambda: look_ups(theirs, seconds=seconds),
                    pairs=pairs,
                )


if __name__ == "__main__":
    main()
