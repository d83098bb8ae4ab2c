"""Measures the service beside its floors, prints a table, and writes it into `bench.json` and the pages that show it.

`python -m tests.bench [--quick]`; `--quick` measures for two seconds where ten are due, and writes `bench.json` only.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.emails import emails_a_second
from tests.bench.load import CONNECTIONS, WRK, Crowd, Load, UserRecord, wrk
from tests.bench.pages import publish
from tests.bench.registration_requests import USERS, asking, letterbox, looking_up, registering, signing_up
from tests.bench.report import Figures, Row, table
from tests.bench.session_requests import asking_for, introspecting, members, refreshing, signing_in
from tests.bench.sign_in_load import hashes_a_second, stormed
from tests.bench.testbed import ROOT, Server, Stage, set_up

FEW, MANY = 1_000, 1_000_000
RUNS = 3
STORM = 64
VERIFY = "/api/v1/sessions/verify"

Measure = Callable[[float], Load]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Something to measure, and what it is measured by."""

    name: str
    measure: Measure


def main() -> int:
    """Measure everything; the exit status says whether every budget holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seconds a run instead of ten; writes no page")
    quick: bool = parser.parse_args().quick
    seconds = 2.0 if quick else 10.0
    with set_up(ROOT / ".data" / "bench") as stage:
        figures = measured(stage, seconds=seconds)
    print(table(figures))
    (ROOT / "bench.json").write_text(json.dumps(asdict(figures), indent=2) + "\n")
    if not quick:
        publish(figures, root=ROOT)
    return 0 if all(row.holds for row in figures.rows) else 1


def measured(stage: Stage, *, seconds: float) -> Figures:
    """All figures, the servers side by side so that they share whatever the machine does."""
    say(f"filling two databases: {FEW:,} and {MANY:,} users")
    few, many = stage.database("few", users=FEW), stage.database("many", users=MANY)
    start, first_run = cold_start(stage, few), make_run(stage)
    with stage.floor(few) as floor, stage.service(few) as service, stage.service(many) as crowded:
        say("accounts and sessions")
        known, known_by_many = members(stage, service, few), members(stage, crowded, many)
        loads = in_turn(
            [
                Subject(name="floor: small JSON", measure=get(floor, "/json?email=person1@example.org")),
                Subject(name="floor: one SELECT", measure=get(floor, "/select", users=FEW)),
                Subject(name="health", measure=get(service, "/health/live")),
                Subject(name="look-up", measure=get(service, USERS, users=FEW)),
                Subject(name="look-up, many", measure=get(crowded, USERS, users=MANY)),
                Subject(name="sign-up", measure=sign_up(service)),
                Subject(name="flow", measure=flow(stage, service, few)),
                Subject(name="flow, many", measure=flow(stage, crowded, many)),
                Subject(name="me", measure=as_members(service, asking_for(f"{USERS}/me", known))),
                Subject(name="me, many", measure=as_members(crowded, asking_for(f"{USERS}/me", known_by_many))),
                Subject(name="refresh", measure=as_members(service, refreshing(known))),
                Subject(name="verify", measure=as_members(service, asking_for(VERIFY, known))),
                Subject(name="introspection", measure=as_members(service, introspecting(stage, few, known))),
                Subject(name="hashes", measure=hashes_a_second),
                Subject(name="sign-in", measure=as_members(service, signing_in(known), connections=STORM)),
            ],
            seconds=seconds,
        )
        say("who am I, while 64 clients sign in")
        calm, storm = stormed(service, known, seconds=seconds, storm=STORM)
        memory = max(proportional_set(pid) for pid in service.workers)
    say("letters")
    rate, _ = emails_a_second(stage, few)
    base = loads["floor: one SELECT"].rate
    rows = [
        Row.of("floor: small JSON", loads["floor: small JSON"], base),
        Row.of("floor: one SELECT", loads["floor: one SELECT"], base),
        Row.of("`/health/live`", loads["health"], base),
        Row.of("look-up by e-mail", loads["look-up"], base, share=0.6),
        Row.of("sign-up", loads["sign-up"], base),
        Row.of("registration, six requests", loads["flow"], base, share=0.4, p99=0.250),
        Row.of("who am I", loads["me"], base, share=0.6, p99=0.100),
        Row.of("refresh", loads["refresh"], base, share=0.4),
        Row.of("introspection", loads["introspection"], base, share=0.4),
        Row.of("`/sessions/verify`", loads["verify"], base, share=0.4),
        Row.ratio("sign-in (Argon2id m=19456,t=2,p=1)", loads["sign-in"], loads["hashes"].rate, at_least=0.95),
        Row.of("who am I, while 64 clients sign in", calm, base, p99=0.150),
        Row.single("and these sign in meanwhile", storm.rate, "a second", at_least=1),
        Row.beside("who am I at 1,000,000 users", loads["me, many"], loads["me"], base),
        Row.beside("look-up at 1,000,000 users", loads["look-up, many"], loads["look-up"], base),
        Row.beside("registration at 1,000,000 users", loads["flow, many"], loads["flow"], base),
        Row.single("letters through one mailer", rate, "a second", at_least=200),
        Row.single("memory of a worker after load", memory, "MB", at_most=120),
        Row.single("cold start to the first 200, beside running engines", start, "s", at_most=1.5),
        Row.single("`make run` for the first time, to the first 200", first_run, "s", at_most=6),
    ]
    return Figures.now(rows, day=datetime.now(UTC).date().isoformat(), wrk=WRK is not None)


def in_turn(subjects: list[Subject], *, seconds: float) -> dict[str, Load]:
    """The median run of each, taken in turn so that a noisy moment hits all alike."""
    for subject in subjects:
        say(f"warming up: {subject.name}")
        subject.measure(min(3.0, seconds))
    runs: dict[str, list[Load]] = {subject.name: [] for subject in subjects}
    for number in range(RUNS):
        for subject in subjects:
            load = subject.measure(seconds)
            if load.failures:
                raise SystemExit(f"{subject.name}: {load.failures} requests failed; these figures mean nothing")
            say(f"run {number + 1} of {RUNS}: {subject.name}: {load.rate:,.0f} requests/s")
            runs[subject.name].append(load)
    return {name: sorted(found, key=lambda load: load.rate)[RUNS // 2] for name, found in runs.items()}


def get(server: Server, path: str, *, users: int | None = None) -> Measure:
    """The same GET again and again, or one for a random user of so many."""

    def measure(seconds: float) -> Load:
        if WRK:
            kind = ["fixed", path] if users is None else ["random", path, str(users)]
            return wrk(port=server.port, seconds=seconds, arguments=kind)
        user = asking(path) if users is None else looking_up(path, users=users)
        return Crowd(port=server.port, make_person=user).use(seconds=seconds)

    return measure


def sign_up(server: Server) -> Measure:
    """New addresses."""

    def measure(seconds: float) -> Load:
        tag = f"new{uuid.uuid4().hex[:8]}"
        if WRK:
            return wrk(port=server.port, seconds=seconds, arguments=["new", f"{USERS}/sign_up", tag])
        return Crowd(port=server.port, make_person=signing_up(tag)).use(seconds=seconds)

    return measure


def as_members(server: Server, user: Callable[[], UserRecord], *, connections: int = CONNECTIONS) -> Measure:
    """People who have an account; always by our own client, since each has a token of their own."""

    def measure(seconds: float) -> Load:
        return Crowd(port=server.port, make_person=user, connections=connections).use(seconds=seconds)

    return measure


def flow(stage: Stage, server: Server, database_url: str) -> Measure:
    """Whole registrations; codes are read from the outbox between requests, and that time is not counted."""

    def measure(seconds: float) -> Load:
        with letterbox(database_url=database_url, outbox_key=stage.secrets["OUTBOX_KEY"]) as run_errands:
            user = registering(f"flow{uuid.uuid4().hex[:8]}")
            return Crowd(port=server.port, make_person=user, run_errands=run_errands).use(seconds=seconds)

    return measure


def cold_start(stage: Stage, database_url: str) -> float:
    """Seconds from starting the service to its first 200; the median of three."""

    def once() -> float:
        began = time.perf_counter()
        with stage.service(database_url):
            return time.perf_counter() - began

    return statistics.median(once() for _ in range(3))


def make_run(stage: Stage) -> float:
    """Seconds from `make run` to its first 200, where engines have to make their data first; the median of three."""

    def once() -> float:
        with tempfile.TemporaryDirectory(dir=stage.engines.data_dir) as folder:
            Path(folder).chmod(0o711)  # the engines run as another user of the system
            began = time.perf_counter()
            with stage.everything(Path(folder) / "data"):
                return time.perf_counter() - began

    return statistics.median(once() for _ in range(3))


def proportional_set(pid: int) -> float:
    """The memory of a process in MB, its share of what it shares included once (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell")


def say(what: str) -> None:
    """Show that something is going on."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
