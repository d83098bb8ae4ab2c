"""Clock: the current time in UTC, and a monotonic clock for durations inside one process."""

import time
from datetime import UTC, datetime

monotonic = time.monotonic


def now() -> datetime:
    """Return the current time as an aware datetime in UTC."""
    return datetime.now(UTC)
