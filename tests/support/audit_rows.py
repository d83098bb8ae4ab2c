"""A long audit log: events of many users over several months, added with SQL, and the months that they need."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tests.support.stores import Query

DAYS = 110
"""The events are of the last days, evenly."""

BUSY_SERVICE, QUIET_SERVICE, USERS = "f3a91c0d27be", "0d27bef3a91c", 20_000

FILL = """
INSERT INTO events
    (at, user_id, kind, outcome, address, device, actor_type, actor_id, target_type, target_id, request_id, details)
SELECT
    now() - interval '1 second' - ({rows} - number) * ({days} * interval '1 day' / {rows}),
    CASE WHEN number % 1000 = 1 OR (number % 10 = 2 AND number % 3 = 0) THEN NULL
        ELSE 1 + (number * 7919) % {users} END,
    CASE WHEN number % 1000 = 1 THEN 'role.changed' WHEN number % 50 = 3 THEN 'role.granted'
        WHEN number % 10 = 2 THEN 'sign_in_refused' WHEN number % 1000 = 4 THEN 'access_denied'
        WHEN number % 10 < 6 THEN 'signed_in' ELSE 'session_ended' END,
    CASE WHEN number % 10 = 2 OR number % 1000 = 4 THEN 'failure' ELSE 'success' END,
    '203.0.113.7', 'Firefox 143 on Linux',
    CASE WHEN number % 1000 = 1 THEN 'user' WHEN number % 50 = 3 THEN 'service' END,
    CASE WHEN number % 1000 = 1 THEN '4711' WHEN number % 5000 = 3 THEN '{quiet}'
        WHEN number % 50 = 3 THEN '{busy}' END,
    CASE WHEN number % 1000 = 1 THEN 'role' END,
    CASE WHEN number % 1000 = 1 THEN 'ROLE_NUMBER_' || number % 7 END,
    md5(number::text), '{{"method": "password"}}'
FROM generate_series({first}::bigint, {last}::bigint) AS number
"""


@contextmanager
def past_months(query: Query) -> Iterator[None]:
    """The months of the last days have partitions, which are dropped afterwards."""
    now = datetime.now(UTC)
    created = []
    for ago in range(1, DAYS // 30 + 2):
        months = now.year * 12 + now.month - 1 - ago
        begin, end = (f"{month // 12:04}-{month % 12 + 1:02}" for month in (months, months + 1))
        name = f"events_{begin.replace('-', '_')}"
        query(
            f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF events"
            f" FOR VALUES FROM ('{begin}-01 00:00Z') TO ('{end}-01 00:00Z')"
        )
        created.append(name)
    yield
    for name in created:
        query(f"DROP TABLE {name}")


def fill(query: Query, *, rows: int, batch: int = 500_000) -> None:
    """Add events in the order of their time, and let the planner know them."""
    parameters = {"rows": rows, "days": DAYS, "users": USERS, "busy": BUSY_SERVICE, "quiet": QUIET_SERVICE}
    for first in range(1, rows + 1, batch):
        query(FILL.format(**parameters, first=first, last=min(rows, first + batch - 1)))
    query("ANALYZE events")
