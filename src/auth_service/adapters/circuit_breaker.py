"""A circuit breaker: after a dependency hung once, others do not queue up to hang on it too.

The libraries for this wrap calls; here connections fail deep inside a pool, where only its events can tell.
"""

import threading
from datetime import timedelta

from auth_service import clock


class CircuitBreaker:
    """Open for a moment after a failure; then one caller probes while the others still fail at once."""

    def __init__(self, *, rest: timedelta) -> None:
        """`rest` is how long nobody tries after a failure."""
        self._rest = rest.total_seconds()
        self._lock = threading.Lock()
        self._probe_at: float | None = None

    def lets_through(self) -> bool:
        """Whether this caller may try. Whoever gets a yes while the circuit is open is its probe."""
        if self._probe_at is None:
            return True
        with self._lock:
            if self._probe_at is None:
                return True
            if clock.monotonic() < self._probe_at:
                return False
            self._probe_at = clock.monotonic() + self._rest
            return True

    def failed(self) -> None:
        """Say that the dependency hung or could not be reached."""
        with self._lock:
            self._probe_at = clock.monotonic() + self._rest

    def succeeded(self) -> None:
        """Say that the dependency answered."""
        if self._probe_at is not None:
            with self._lock:
                self._probe_at = None
