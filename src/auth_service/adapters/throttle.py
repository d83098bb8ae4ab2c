"""Throttling of guesses: pauses that grow with every attempt and end by themselves, exact over all processes."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from auth_service.adapters.crypto import Digests
from auth_service.adapters.limiter import LocalLimiter
from auth_service.adapters.redis_store import NOW, RedisStore, Script
from auth_service.errors import RedisAway

_MS = timedelta(milliseconds=1)

# An attempt is counted when it begins, so that a thousand begun at once are a thousand, not one.
ATTEMPT = Script(
    NOW
    + """
local free, first, longest, forget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local was = redis.call('HMGET', KEYS[1], 'attempts', 'until')
local attempts, paused = tonumber(was[1] or '0'), tonumber(was[2] or '0')
if paused > now then return {0, paused - now} end
attempts = attempts + 1
local pause = 0
if attempts >= free then pause = math.min(first * 2 ^ (attempts - free), longest) end
redis.call('HSET', KEYS[1], 'attempts', attempts, 'until', now + math.floor(pause))
redis.call('PEXPIRE', KEYS[1], forget)
return {attempts, 0}
"""
)

# Takes back the one attempt that turned out right, and its pause unless somebody attempted since: theirs stays.
FORGIVE = Script(
    """
local attempts = tonumber(redis.call('HGET', KEYS[1], 'attempts') or '0')
if attempts <= 1 then return redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'attempts', attempts - 1)
if attempts == tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'until', 0) end
return 1
"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """An attempt at something secret, as it was counted."""

    number: int
    """Which attempt of its subject it is; zero if it has to wait and was not counted."""
    wait: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Throttle:
    """Admits attempts at something secret, each subject by itself. Subjects reach Redis as digests only."""

    store: RedisStore
    digests: Digests
    free: int
    """Attempts without a pause."""
    first_pause: timedelta
    longest_pause: timedelta
    forget: timedelta
    """After this long without an attempt everything is forgotten."""
    local: LocalLimiter = field(default_factory=LocalLimiter, repr=False)
    switched_on: bool = True

    def attempt(self, name: str, subject: str) -> Attempt:
        """Count an attempt, or say how long the subject still has to wait.

        While Redis is away this process admits the free attempts in each longest pause by itself.
        """
        if not self.switched_on:
            return Attempt(number=1, wait=timedelta())
        key = self._key(name, subject)
        try:
            number, wait = self.store.run(
                ATTEMPT, key, self.free, self.first_pause // _MS, self.longest_pause // _MS, self.forget // _MS
            )
        except RedisAway:
            hit = self.local.hit(key, [(self.free, self.longest_pause)])
            return Attempt(number=int(hit.allowed), wait=timedelta() if hit.allowed else hit.wait)
        return Attempt(number=number, wait=timedelta(milliseconds=wait))

    def forgive(self, name: str, subject: str, attempt: Attempt) -> None:
        """Take back an attempt that was right. Somebody else's wrong ones stay counted."""
        if self.switched_on:
            with suppress(RedisAway):  # it is forgotten by itself
                self.store.run(FORGIVE, self._key(name, subject), attempt.number)

    def _key(self, name: str, subject: str) -> str:
        return f"throttle:{name}:{self.digests.of(name, subject).hex()[:32]}"
