"""Rate limits: an exact sliding window in Redis, and a small one in this process while Redis is away."""

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from auth_service import clock
from auth_service.adapters.crypto import Digests
from auth_service.adapters.redis_store import NOW, RedisStore, Script
from auth_service.errors import RedisAway

Windows = Sequence[tuple[int, timedelta]]

_MS = timedelta(milliseconds=1)

# The key is a list of the instants at which something was allowed, newest first. The n-th newest lying inside the
# window means that n have been allowed in it: no approximation, and nothing to gain at the edge of a window.
HIT = Script(
    NOW
    + """
local function wait()
  local longest = 0
  for i = 1, #ARGV, 2 do
    local nth = redis.call('LINDEX', KEYS[1], ARGV[i] - 1)
    if nth then longest = math.max(longest, nth + ARGV[i + 1] - now) end
  end
  return longest
end
local refused = wait()
if refused > 0 then return {0, refused} end
local most, longest = 0, 0
for i = 1, #ARGV, 2 do
  most = math.max(most, tonumber(ARGV[i]))
  longest = math.max(longest, tonumber(ARGV[i + 1]))
end
redis.call('LPUSH', KEYS[1], now)
redis.call('LTRIM', KEYS[1], 0, most - 1)
redis.call('PEXPIRE', KEYS[1], longest)
return {1, wait()}
"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """Whether something may happen now, and after how long the next time may be."""

    allowed: bool
    wait: timedelta


@dataclass(kw_only=True)
class LocalLimiter:
    """The same windows in the memory of one process, for the most recent subjects only."""

    subjects: int = 10_000
    _seen: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hit(self, key: str, windows: Windows) -> Hit:
        """Count one, if every window has room."""
        now = clock.monotonic()
        with self._lock:
            instants = self._seen.setdefault(key, deque(maxlen=max(count for count, _ in windows)))
            self._seen.move_to_end(key)
            if len(self._seen) > self.subjects:
                self._seen.popitem(last=False)
            wait = _wait(instants, windows, now)
            if wait > 0:
                return Hit(allowed=False, wait=timedelta(seconds=wait))
            instants.appendleft(now)
            return Hit(allowed=True, wait=timedelta(seconds=_wait(instants, windows, now)))


def _wait(instants: deque[float], windows: Windows, now: float) -> float:
    waits = (instants[count - 1] + window.total_seconds() - now for count, window in windows if len(instants) >= count)
    return max(0.0, *waits, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limiter:
    """Counts before the work is done. Subjects reach Redis as digests only."""

    store: RedisStore
    digests: Digests
    local: LocalLimiter
    switched: Literal["on", "off"]

    def hit(self, limit: str, windows: Windows, *, subject: str) -> Hit:
        """Count one for `subject` under the limit's name, if every window has room.

        While Redis is away this process counts by itself: a limit that lets everything through when its store is
        down is an invitation to bring the store down.
        """
        if self.switched == "off":
            return Hit(allowed=True, wait=timedelta())
        key = f"limit:{limit}:{self.digests.of(limit, subject).hex()[:32]}"
        arguments = [number for count, window in windows for number in (count, window // _MS)]
        try:
            allowed, milliseconds = self.store.run(HIT, key, *arguments)
        except RedisAway:
            return self.local.hit(key, windows)
        return Hit(allowed=bool(allowed), wait=timedelta(milliseconds=milliseconds))
