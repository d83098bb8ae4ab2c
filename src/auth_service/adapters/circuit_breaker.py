"""Circuit breaker: after a failure of a dependency, calls fail immediately for a short time instead of waiting.

No library is used: libraries wrap calls, but here connections fail inside a pool, which reports failures by events.
"""

import threading
from collections.abc import Callable
from datetime import timedelta

from auth_service import clock


class CircuitBreaker:
    """Open for a time after a failure. Then one call is the probe, while the others still fail immediately."""

    def __init__(self, *, open_for: timedelta, monotonic: Callable[[], float] = clock.monotonic) -> None:
        """`open_for` is the time from a failure to the first probe, and between probes; `monotonic` is the clock."""
        self._open_for = open_for.total_seconds()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._probe_at: float | None = None

    def allows_call(self) -> bool:
        """Whether the caller may call the dependency. While the circuit is open, True makes the caller the probe."""
        if self._probe_at is None:
            return True
        with self._lock:
            if self._probe_at is None:
                return True
            if self._monotonic() < self._probe_at:
                return False
            self._probe_at = self._monotonic() + self._open_for
            return True

    def failed(self) -> None:
        """Open the circuit: the dependency did not answer or could not be reached."""
        with self._lock:
            self._probe_at = self._monotonic() + self._open_for

    def succeeded(self) -> None:
        """Close the circuit: the dependency answered."""
        if self._probe_at is not None:
            with self._lock:
                self._probe_at = None
