"""Circuit breaker: after a dependency did not answer, further calls fail immediately for a short time.

Libraries for this wrap calls. Here connections fail inside a pool, where only the events of the pool show the failure.
"""

import threading
from datetime import timedelta

from auth_service import clock


class CircuitBreaker:
    """Open for a short time after a failure; then one caller probes while the others still fail immediately."""

    def __init__(self, *, rest: timedelta) -> None:
        """`rest` is how long all calls fail after a failure, before the first probe."""
        self._rest = rest.total_seconds()
        self._lock = threading.Lock()
        self._probe_at: float | None = None

    def allows_call(self) -> bool:
        """Whether this caller may call the dependency. A caller that may while the circuit is open is the probe."""
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
        """Open the circuit: the dependency did not answer or could not be reached."""
        with self._lock:
            self._probe_at = clock.monotonic() + self._rest

    def succeeded(self) -> None:
        """Close the circuit: the dependency answered."""
        if self._probe_at is not None:
            with self._lock:
                self._probe_at = None
