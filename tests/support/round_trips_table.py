"""Round trips of every endpoint to PostgreSQL and Redis, and their table in docs/architecture.md.

    make round_trips

measures an application with the profile `production` over engines of its own and writes the table;
`tests/test_round_trips.py` compares. The application is warm (statements prepared, scripts and signing keys loaded),
every rate limit counts and none is reached.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.settings import Settings
from tests.support.accounts import Accounts
from tests.support.actors import Mailbox
from tests.support.application import application
from tests.support.documents import ARCHITECTURE
from tests.support.round_trips import RoundTrips, of_this_thread
from tests.support.round_trips_cases import Case
from tests.support.round_trips_passkeys import CASES

SETTINGS: Mapping[str, Any] = {
    "app_env": "production",
    "second_factor_roles": "none",  # the administrator of the table has no authenticator app
    **{name: "100000/1m" for name in Settings.model_fields if name.startswith("limit_")},
    "limit_codes_a_day": 100_000,
    "limit_codes_reserved": 0,
}
COMMAND = "make round_trips"
TIMES = 3
"""Number of measurements, of which the minimum counts: any request may reload the signing keys, every two seconds."""

Key = tuple[str, str]
"""An endpoint, and the name of its case."""


def measured(case: Case, accounts: Accounts, *, times: int = 1) -> RoundTrips:
    """The round trips of a request that is not the first of its kind; the minimum of several measurements."""
    measurements = []
    case.prepare(accounts)().close()
    for _ in range(times):
        request = case.prepare(accounts)
        accounts.get("/.well-known/jwks.json")  # reloads the signing keys
        with of_this_thread() as trips:
            answer = request()
        assert answer.status_code == case.status, (case.endpoint, case.case, answer.text)
        answer.close()
        measurements.append(trips)
    return min(measurements, key=lambda trips: (trips.postgres, trips.redis))


def endpoints(app: Flask) -> Iterator[str]:
    """Every method of every route, in the form of the table."""
    for rule in app.url_map.iter_rules():
        if rule.rule.endswith("/"):
            continue  # the same operation under a second path
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield f"{method} {path}"


def line(key: Key, trips: RoundTrips) -> str:
    """A row of the table in Markdown."""
    return f"| `{key[0]}` | {key[1]} | {trips.postgres} | {trips.redis} |"


def table(rows_by_case: Mapping[Key, RoundTrips]) -> str:
    """The table between its markers."""
    head = ["| request | case | PostgreSQL | Redis |", "| --- | --- | --- | --- |"]
    rows = [line(key, trips) for key, trips in rows_by_case.items()]
    return "\n".join(["<!-- round trips -->", *head, *rows, "<!-- /round trips -->"])


TABLE = re.compile(r"<!-- round trips -->\n.*?<!-- /round trips -->", re.DOTALL)


def documented() -> dict[Key, RoundTrips]:
    """The rows of the document."""
    [text] = TABLE.findall(ARCHITECTURE.read_text("utf-8"))
    rows = re.findall(r"^\| `(.+?)` \| (.*?) ?\| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    return {(name, case): RoundTrips(postgres=int(asked), redis=int(sent)) for name, case, asked, sent in rows}


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(
        prog="PYTHONPATH=src python -m tests.support.round_trips_table", description="Count round trips."
    )
    parser.add_argument("--write", action="store_true", help="write the table into docs/architecture.md")
    write = parser.parse_args().write
    with application(**SETTINGS) as app, tempfile.TemporaryDirectory() as folder:
        accounts = Accounts(app, Mailbox(app, DevInbox(Path(folder))))
        rows = {(case.endpoint, case.case): measured(case, accounts, times=TIMES) for case in CASES}
    if write:
        ARCHITECTURE.write_text(TABLE.sub(lambda _: table(rows), ARCHITECTURE.read_text("utf-8")), "utf-8")
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
