"""Rate limiter: exact sliding windows in Redis, and in the memory of the process while Redis is unavailable."""

import ipaddress
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

from auth_service import clock
from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import NOW, Argument, RedisClient, Script
from auth_service.adapters.redis.network_share import SharedLimit
from auth_service.errors import RedisUnavailable

Windows = Sequence[tuple[int, timedelta]]

_MS = timedelta(milliseconds=1)

# Sliding window log: a key is a list of the instants of allowed requests, newest first. A limit of n requests is
# reached if the n-th newest instant lies inside the window. A fixed window would allow 2n requests around its edge.
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
local rejected_for = wait()
if rejected_for > 0 then return {0, rejected_for} end
local largest_count, longest_window = 0, 0
for i = 1, #ARGV, 2 do
  largest_count = math.max(largest_count, tonumber(ARGV[i]))
  longest_window = math.max(longest_window, tonumber(ARGV[i + 1]))
end
redis.call('LPUSH', KEYS[1], now)
redis.call('LTRIM', KEYS[1], 0, largest_count - 1)
redis.call('PEXPIRE', KEYS[1], longest_window)
return {1, wait()}
"""
)

UNDO_HIT = Script("redis.call('LPOP', KEYS[1])")
"""Refunds the newest hit of a key."""


def script_arguments(windows: Windows) -> list[int]:
    """Return the arguments of HIT: for each window its count and its length in milliseconds."""
    return [number for count, window in windows for number in (count, window // _MS)]


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Return the network of an address: IPv4 itself, or the /64 of IPv6, because one client can use all of its /64."""
    parsed = ipaddress.ip_address(address)
    return address if parsed.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A rate limit for one subject; limits with different names are counted separately."""

    name: str
    windows: Windows
    subject: str

    def call(self, key: str, digests: Digests) -> tuple[Script, str, list[Argument]]:
        """Return the script call that counts a request under `key`."""
        return HIT, key, [*script_arguments(self.windows)]

    def refund(self, key: str, digests: Digests) -> tuple[Script, str, list[Argument]]:
        """Return the script call that refunds the request."""
        return UNDO_HIT, key, []


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """Whether a request is allowed, and how long the client has to wait before the next one."""

    allowed: bool
    wait: timedelta


@dataclass(kw_only=True)
class LocalRateLimiter:
    """The same sliding windows in the memory of one process, for at most `subjects` keys (least recently used)."""

    subjects: int = 10_000
    _instants: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hit(self, key: str, windows: Windows) -> Hit:
        """Count a request if no window is full."""
        now = clock.monotonic()
        with self._lock:
            instants = self._instants.setdefault(key, deque(maxlen=max(count for count, _ in windows)))
            self._instants.move_to_end(key)
            if len(self._instants) > self.subjects:
                self._instants.popitem(last=False)
            wait = _wait(instants, windows, now)
            if wait > 0:
                return Hit(allowed=False, wait=timedelta(seconds=wait))
            instants.appendleft(now)
            return Hit(allowed=True, wait=timedelta(seconds=_wait(instants, windows, now)))

    def refund(self, key: str) -> None:
        """Remove the newest hit of a key."""
        with self._lock:
            if self._instants.get(key):
                self._instants[key].popleft()


def _all_of(hits: Sequence[Hit]) -> Hit:
    """Combine the answers of several limits: the request is allowed if all of them allow it."""
    rejected = [hit for hit in hits if not hit.allowed]
    return Hit(allowed=not rejected, wait=max(hit.wait for hit in rejected or hits))


def _wait(instants: deque[float], windows: Windows, now: float) -> float:
    waits = (instants[count - 1] + window.total_seconds() - now for count, window in windows if len(instants) >= count)
    return max(0.0, *waits, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimiter:
    """Counts requests before they are processed. Redis stores keyed digests of the subjects, never addresses."""

    store: RedisClient
    digests: Digests
    local: LocalRateLimiter
    enabled: bool

    def hit(self, *limits: Limit) -> Hit:
        """Count a request under all `limits`, or under none of them if one is reached.

        While Redis is unavailable, this process counts in its own memory: if limits were off without Redis, an attacker
        would attack Redis first. Raises ServiceBusy.
        """
        try:
            return self.hit_in_redis(*limits)
        except RedisUnavailable:
            return _all_of(self._local_hits([self._key(each) for each in limits], limits))

    def hit_in_redis(self, *limits: Limit | SharedLimit) -> Hit:
        """Count like `hit`, but only in Redis: for requests that need Redis. Raises RedisUnavailable, ServiceBusy."""
        if not self.enabled:
            return Hit(allowed=True, wait=timedelta())
        return _all_of(self._hits([self._key(each) for each in limits], limits))

    def _key(self, limit: Limit | SharedLimit) -> str:
        return f"limit:{limit.name}:{self.digests.of(limit.name, limit.subject).hex()[:32]}"

    def _hits(self, keys: Sequence[str], limits: Sequence[Limit | SharedLimit]) -> list[Hit]:
        # Each limit is one key and one call (Redis Cluster). If one limit is reached, the others refund their hits.
        # Before the refund, a concurrent request may be rejected too early, but is never allowed beyond a limit.
        answers = self.store.run_all([each.call(key, self.digests) for key, each in zip(keys, limits, strict=True)])
        refunds = [
            each.refund(key, self.digests)
            for key, each, (allowed, _) in zip(keys, limits, answers, strict=True)
            if allowed
        ]
        if 0 < len(refunds) < len(keys):
            self.store.run_all(refunds)
        return [Hit(allowed=bool(allowed), wait=timedelta(milliseconds=wait)) for allowed, wait in answers]

    def _local_hits(self, keys: Sequence[str], limits: Sequence[Limit]) -> list[Hit]:
        hits = [self.local.hit(key, each.windows) for key, each in zip(keys, limits, strict=True)]
        if not all(hit.allowed for hit in hits):
            for key, hit in zip(keys, hits, strict=True):
                if hit.allowed:
                    self.local.refund(key)
        return hits
