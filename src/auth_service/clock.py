"""Time, said once: instants in UTC, and a monotonic count for durations inside one process."""

import time
from datetime import UTC, datetime

monotonic = time.monotonic


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)
