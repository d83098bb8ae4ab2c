"""Measure the service and its floors, print a table, and write it into `bench.json` and the documents.

`python -m tests.bench [--quick]`; `--quick` measures for two seconds instead of ten and writes `bench.json` only.
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

from tests.bench.administration_requests import ADMINISTRATORS, CHECK, Search, give_roles, searches, with_tokens
from tests.bench.emails import emails_a_second
from tests.bench.load import CONNECTIONS, WRK, Load, LoadClient, VirtualUser, wrk
from tests.bench.pages import publish
from tests.bench.registration_requests import USERS, code_reader, look_ups, registrations, repeated_gets, sign_ups
from tests.bench.report import Figures, Row, table
from tests.bench.second_step_requests import further_round_trips, prepare_totp, sign_ins_with_totp
from tests.bench.session_requests import introspections, prepare_accounts, refreshes, requests_with_tokens, sign_ins
from tests.bench.sign_in_load import hashes_a_second, under_sign_in_load
from tests.bench.testbed import ROOT, Server, Testbed, set_up

FEW, MANY = 1_000, 1_000_000
RUNS = 3
SIGN_IN_CLIENTS = 64
VERIFY = "/api/v1/sessions/verify"

SEARCHES = {
    "first page of users": 0.050,
    "page of users with a prefix": 0.050,
    "exact search of a user": 0.050,
    "count of users, which stops at 10,000": None,
}
"""The searches of administrators, each with the budget of its p99 in seconds."""

Measure = Callable[[float], Load]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """A name and the function that measures it."""

    name: str
    measure: Measure


def main() -> int:
    """Measure all rows; the exit status is 0 if every budget holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seconds a run instead of ten; writes no page")
    quick: bool = parser.parse_args().quick
    seconds = 2.0 if quick else 10.0
    with set_up(ROOT / ".data" / "bench") as testbed:
        figures = measure_all(testbed, seconds=seconds)
    print(table(figures))
    (ROOT / "bench.json").write_text(json.dumps(asdict(figures), indent=2) + "\n")
    if not quick:
        publish(figures, root=ROOT)
    return 0 if all(row.holds for row in figures.rows) else 1


def measure_all(testbed: Testbed, *, seconds: float) -> Figures:
    """Measure all rows; all servers run at the same time, so that other load on the machine affects them equally."""
    say(f"filling two databases: {FEW:,} and {MANY:,} users")
    few, many = testbed.database("few", users=FEW), testbed.database("many", users=MANY)
    start, first_run = cold_start(testbed, few), make_run(testbed)
    with testbed.floor(few) as floor, testbed.service(few) as service, testbed.service(many) as service_many:
        say("accounts and sessions")
        accounts, accounts_many = prepare_accounts(testbed, service, few), prepare_accounts(testbed, service_many, many)
        with_roles = give_roles(few, accounts)
        with_totp = sign_ins_with_totp(prepare_totp(testbed, few))
        search = searches(testbed, many, users=MANY)
        loads = alternately(
            [
                *administration(service_many, search),
                Measurement(
                    name="current user, 20 roles",
                    measure=with_accounts(service, with_tokens(with_roles, lambda _: f"{USERS}/me")),
                ),
                Measurement(
                    name="check_permissions",
                    measure=with_accounts(
                        service,
                        with_tokens(with_roles, lambda user: f"{CHECK}?user_id={user}&permission=films:number_7"),
                    ),
                ),
                Measurement(name="floor: small JSON", measure=get(floor, "/json?email=person1@example.org")),
                Measurement(name="floor: one SELECT", measure=get(floor, "/select", users=FEW)),
                Measurement(name="health", measure=get(service, "/health/live")),
                Measurement(name="look-up", measure=get(service, USERS, users=FEW)),
                Measurement(name="look-up, many", measure=get(service_many, USERS, users=MANY)),
                Measurement(name="sign-up", measure=sign_up(service)),
                Measurement(name="flow", measure=flow(testbed, service, few)),
                Measurement(name="flow, many", measure=flow(testbed, service_many, many)),
                Measurement(
                    name="current user", measure=with_accounts(service, requests_with_tokens(f"{USERS}/me", accounts))
                ),
                Measurement(
                    name="current user, many",
                    measure=with_accounts(service_many, requests_with_tokens(f"{USERS}/me", accounts_many)),
                ),
                Measurement(name="refresh", measure=with_accounts(service, refreshes(accounts))),
                Measurement(name="verify", measure=with_accounts(service, requests_with_tokens(VERIFY, accounts))),
                Measurement(
                    name="introspection", measure=with_accounts(service, introspections(testbed, few, accounts))
                ),
                Measurement(name="hashes", measure=hashes_a_second),
                Measurement(
                    name="sign-in", measure=with_accounts(service, sign_ins(accounts), connections=SIGN_IN_CLIENTS)
                ),
                Measurement(
                    name="sign-in with TOTP", measure=with_accounts(service, with_totp, connections=SIGN_IN_CLIENTS)
                ),
            ],
            seconds=seconds,
        )
        say("current user, while 64 clients sign in")
        current_user, sign_in_load = under_sign_in_load(
            service, accounts, seconds=seconds, sign_in_clients=SIGN_IN_CLIENTS
        )
        memory = max(proportional_set(pid) for pid in service.workers)
    say("emails")
    rate, _ = emails_a_second(testbed, few)
    say("round trips of a sign-in with TOTP")
    further = further_round_trips()
    base = loads["floor: one SELECT"].rate
    rows = [
        Row.of("floor: small JSON", loads["floor: small JSON"], base),
        Row.of("floor: one SELECT", loads["floor: one SELECT"], base),
        Row.of("`/health/live`", loads["health"], base),
        Row.of("look-up by email", loads["look-up"], base, share=0.6),
        Row.of("sign-up", loads["sign-up"], base),
        Row.of("registration, six requests", loads["flow"], base, share=0.4, p99=0.250),
        Row.of("current user", loads["current user"], base, share=0.6, p99=0.100),
        Row.of("refresh", loads["refresh"], base, share=0.4),
        Row.of("introspection", loads["introspection"], base, share=0.4),
        Row.of("`/sessions/verify`", loads["verify"], base, share=0.4),
        Row.ratio("sign-in (Argon2id m=19456,t=2,p=1)", loads["sign-in"], loads["hashes"].rate, at_least=0.95),
        Row.of("sign-in with TOTP, two requests", loads["sign-in with TOTP"], base),
        Row.single("round trips of its second step beyond those of a sign-in", further, "round trips", at_most=2),
        Row.of("current user, while 64 clients sign in", current_user, base, p99=0.150),
        Row.single("sign-ins of these 64 clients", sign_in_load.rate, "a second", at_least=1),
        Row.compared("current user at 1,000,000 users", loads["current user, many"], loads["current user"], base),
        Row.compared("look-up at 1,000,000 users", loads["look-up, many"], loads["look-up"], base),
        Row.compared("registration at 1,000,000 users", loads["flow, many"], loads["flow"], base),
        Row.of("current user with 20 of 200 roles", loads["current user, 20 roles"], base),
        Row.as_quick(
            "`check_permissions` with 20 of 200 roles",
            loads["check_permissions"],
            loads["current user, 20 roles"],
            base,
            as_what="this current user",
        ),
        *(
            Row.of(f"{name} at 1,000,000 users, {ADMINISTRATORS} connections", loads[name], base, p99=p99)
            for name, p99 in SEARCHES.items()
        ),
        Row.single("emails through one mail worker", rate, "a second", at_least=200),
        Row.single("memory of a worker after load", memory, "MB", at_most=120),
        Row.single("cold start to the first 200, with running engines", start, "s", at_most=1.5),
        Row.single("`make run` for the first time, to the first 200", first_run, "s", at_most=6),
    ]
    return Figures.now(rows, day=datetime.now(UTC).date().isoformat(), wrk=WRK is not None)


def administration(server: Server, search: Search) -> list[Measurement]:
    """The searches of administrators."""
    paths: dict[str, Callable[[int], str]] = {
        "first page of users": lambda _: "?limit=50",
        "page of users with a prefix": lambda number: f"?limit=50&query=person{number // 100}",
        "exact search of a user": lambda number: f"?email=person{number}@example.org",
        "count of users, which stops at 10,000": lambda _: "/count?status=active",
    }
    return [
        Measurement(name=name, measure=with_accounts(server, search(path), connections=ADMINISTRATORS))
        for name, path in paths.items()
    ]


def alternately(measurements: list[Measurement], *, seconds: float) -> dict[str, Load]:
    """The median run of each measurement; the runs alternate, so that noise affects all equally."""
    for measurement in measurements:
        say(f"warming up: {measurement.name}")
        measurement.measure(min(3.0, seconds))
    runs: dict[str, list[Load]] = {measurement.name: [] for measurement in measurements}
    for number in range(RUNS):
        for measurement in measurements:
            load = measurement.measure(seconds)
            if load.failures:
                raise SystemExit(f"{measurement.name}: {load.failures} requests failed; these figures mean nothing")
            say(f"run {number + 1} of {RUNS}: {measurement.name}: {load.rate:,.0f} requests/s")
            runs[measurement.name].append(load)
    return {name: sorted(loads, key=lambda load: load.rate)[RUNS // 2] for name, loads in runs.items()}


def get(server: Server, path: str, *, users: int | None = None) -> Measure:
    """Repeat one GET, or look up a random one of `users` users."""

    def measure(seconds: float) -> Load:
        if WRK:
            kind = ["fixed", path] if users is None else ["random", path, str(users)]
            return wrk(port=server.port, seconds=seconds, arguments=kind)
        user = repeated_gets(path) if users is None else look_ups(path, users=users)
        return LoadClient(port=server.port, new_user=user).use(seconds=seconds)

    return measure


def sign_up(server: Server) -> Measure:
    """Sign up with new addresses."""

    def measure(seconds: float) -> Load:
        tag = f"new{uuid.uuid4().hex[:8]}"
        if WRK:
            return wrk(port=server.port, seconds=seconds, arguments=["new", f"{USERS}/sign_up", tag])
        return LoadClient(port=server.port, new_user=sign_ups(tag)).use(seconds=seconds)

    return measure


def with_accounts(server: Server, user: Callable[[], VirtualUser], *, connections: int = CONNECTIONS) -> Measure:
    """Requests of signed-in users; always by the Python client, since each user has another token."""

    def measure(seconds: float) -> Load:
        return LoadClient(port=server.port, new_user=user, connections=connections).use(seconds=seconds)

    return measure


def flow(testbed: Testbed, server: Server, database_url: str) -> Measure:
    """Complete registrations; codes are read from the outbox between requests, which is not measured."""

    def measure(seconds: float) -> Load:
        with code_reader(database_url=database_url, outbox_key=testbed.secrets["OUTBOX_KEY"]) as run_steps:
            user = registrations(f"flow{uuid.uuid4().hex[:8]}")
            return LoadClient(port=server.port, new_user=user, run_steps=run_steps).use(seconds=seconds)

    return measure


def cold_start(testbed: Testbed, database_url: str) -> float:
    """Seconds from starting the service to its first 200; the median of three."""

    def once() -> float:
        began = time.perf_counter()
        with testbed.service(database_url):
            return time.perf_counter() - began

    return statistics.median(once() for _ in range(3))


def make_run(testbed: Testbed) -> float:
    """Seconds from `make run` to its first 200, including the creation of the databases; the median of three."""

    def once() -> float:
        with tempfile.TemporaryDirectory(dir=testbed.engines.data_dir) as folder:
            Path(folder).chmod(0o711)  # the engines run as another user of the system
            began = time.perf_counter()
            with testbed.local_run(Path(folder) / "data"):
                return time.perf_counter() - began

    return statistics.median(once() for _ in range(3))


def proportional_set(pid: int) -> float:
    """The memory of a process in MB, with its proportional share of shared memory (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system has no smaps_rollup with Pss")


def say(what: str) -> None:
    """Print progress to standard error."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
