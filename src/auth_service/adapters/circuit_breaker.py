"""Circuit breaker: after a failure of a dependency, calls fail immediately for a short time instead of waiting.

No library is used: those wrap calls, but here connections fail inside a pool, which reports it by events only.
"""

import threading
from collections.abc import Callable
from datetime import timedelta

from auth_service import clock


class CircuitBreaker:
    """Open for `rest` after a failure. Then one call is the probe, while the others still fail immediately."""

    def __init__(self, *, rest: timedelta, monotonic: Callable[[], float] = clock.monotonic) -> None:
        """`rest` is the time on the clock `monotonic` from a failure to the first probe, and between two probes."""
        self._rest = rest.total_seconds()
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
            self._probe_at = self._monotonic() + self._rest
            return True

    def failed(self) -> None:
        """Open the circuit: the dependency did not answer or could not be reached."""
        with self._lock:
            self._probe_at = self._monotonic() + self._rest

    def succeeded(self) -> None:
        """Close the circuit: the dependency answered."""
        if self._probe_at is not None:
            with self._lock:
                self._probe_at = None
