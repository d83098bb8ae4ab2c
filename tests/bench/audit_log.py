"""Audit log benchmark: searches and exports of a long audit log, through the HTTP interface of one process.

`PYTHONPATH=src python -m tests.bench.audit_log` adds ten million events first, which takes some minutes and 8 GB of
disk; `--events 200000` is a quick run. It fails if a search takes longer than AT_MOST (p99), or an export of 10,000
events needs more than MEMORY.
"""

import argparse
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flask import Flask

from tests.support.application import application
from tests.support.audit_rows import BUSY_SERVICE, DAYS, USERS, fill, past_months
from tests.support.service_client import made_key
from tests.support.stores import Query, asking

PATH = "/api/v1/admin/audit"
AT_MOST = 0.05
MEMORY = 64 * 1024 * 1024
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'events' AND indexname NOT LIKE 'pk_%%'"


def hour(days_ago: float) -> dict[str, str]:
    """The filters of one hour."""
    begin = datetime.now(UTC) - timedelta(days=days_ago)
    return {"from": f"{begin:%Y-%m-%dT%H:%M:%SZ}", "to": f"{begin + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}


def user() -> str:
    """A random user."""
    return f"user:{random.randint(1, USERS)}"


def day() -> float:
    """A random time in the log, in days before now."""
    return random.uniform(1, DAYS - 1)


FLOOR = "floor: the list of event types, which reads no event"
SEARCHES: dict[str, Callable[[], dict[str, str]]] = {
    "no filter": dict,
    "actor, a user": lambda: {"actor": user()},
    "actor, a busy service": lambda: {"actor": f"service:{BUSY_SERVICE}"},
    "target, a user": lambda: {"target": user()},
    "target, a role": lambda: {"target": "role:ROLE_NUMBER_3"},
    "action, frequent": lambda: {"action": "signed_in"},
    "action, rare": lambda: {"action": "role.changed"},
    "action, never": lambda: {"action": "account_deleted"},
    "action and another outcome": lambda: {"action": "sign_in_refused", "outcome": "success"},
    "outcome failure": lambda: {"outcome": "failure"},
    "an hour": lambda: hour(day()),
    "an hour, action": lambda: {"action": "sign_in_refused", **hour(day())},
    "an hour, outcome": lambda: {"outcome": "failure", **hour(day())},
    "an hour, actor": lambda: {"actor": user(), **hour(day())},
}


def fill_fast(query: Query, *, rows: int) -> None:
    """Add events without indexes, which are then built in one pass."""
    indexes = query(INDEXES)
    for name, _ in indexes:
        query(f"DROP INDEX {name}")
    fill(query, rows=rows)
    for _, definition in indexes:
        query(definition.replace(" ON ONLY ", " ON "))
    query("ANALYZE events")


def searches(app: Flask, headers: dict[str, str], *, rounds: int) -> dict[str, list[float]]:
    """The seconds of each search, in turn."""
    client = app.test_client(use_cookies=False)
    seconds: dict[str, list[float]] = {name: [] for name in (FLOOR, *SEARCHES)}
    for number in range(-3, rounds):  # the first rounds fill caches
        for name, filters in {FLOOR: None, **SEARCHES}.items():
            path, values = (f"{PATH}/actions", {}) if filters is None else (PATH, {"limit": "50", **filters()})
            began = time.perf_counter()
            answer = client.get(path, query_string=values, headers=headers)
            if answer.status_code != 200:
                raise RuntimeError(answer.text)
            if number >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def export(app: Flask, headers: dict[str, str], media_type: str) -> tuple[int, float, int]:
    """The events of an export, its seconds, and the bytes of memory that it needs at most."""
    client = app.test_client(use_cookies=False)
    began = time.perf_counter()
    body = client.get(PATH, headers={**headers, "Accept": media_type}).get_data()
    seconds = time.perf_counter() - began
    tracemalloc.start()
    answer = client.get(PATH, headers={**headers, "Accept": media_type})
    for _ in answer.iter_encoded():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return body.count(b"\n"), seconds, peak


def main() -> int:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    with application(rate_limits="off") as app:
        query = asking(app.extensions["auth_service"].settings.database_url)
        with past_months(query):
            fill_fast(query, rows=arguments.events)
            headers = {"Authorization": f"Bearer {made_key(app, 'audit:read', name='auditor').value}"}
            measured = searches(app, headers, rounds=arguments.rounds)
            exports = {name: export(app, headers, name) for name in ("text/csv", "application/x-ndjson")}
            query("DELETE FROM events WHERE kind = 'audit.exported'")
    print(f"| search, {arguments.events:,} events | p50 | p99 |\n| --- | --- | --- |")
    slow = False
    for name, seconds in measured.items():
        p99 = statistics.quantiles(seconds, n=100)[98]
        slow |= p99 > AT_MOST
        print(f"| {name} | {statistics.median(seconds) * 1000:.1f} ms | {p99 * 1000:.1f} ms |")
    for name, (lines, took, peak) in exports.items():
        print(f"| export, {name}, {lines:,} lines | {took:.2f} s | {peak / 2**20:.1f} MiB |")
    return int(slow or any(peak > MEMORY for _, _, peak in exports.values()))


if __name__ == "__main__":
    sys.exit(main())
