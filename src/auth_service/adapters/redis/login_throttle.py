"""Throttling of guesses: pauses that grow with every attempt and end by themselves, exact over all processes."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import NOW, RedisClient, Script
from auth_service.adapters.redis.rate_limiter import HIT, UNDO_HIT, LocalRateLimiter, Windows, script_arguments
from auth_service.errors import RedisUnavailable, ServiceBusy

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
    trusted: bool = False
    """It was not counted among those of everybody."""
    counted_here: bool = False
    """Redis was away: it was counted by this process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoginThrottle:
    """Admits attempts at something secret, each subject by itself. Subjects reach Redis as digests only."""

    store: RedisClient
    digests: Digests
    free: int
    """Attempts without a pause."""
    first_pause: timedelta
    longest_pause: timedelta
    forget: timedelta
    """After this long without an attempt everything is forgotten."""
    global_limit: Windows = ()
    """How many attempts of everybody may fail: beyond it only those are admitted that are `trusted`."""
    local: LocalRateLimiter = field(default_factory=LocalRateLimiter, repr=False)
    switched_on: bool = True

    def attempt(self, name: str, subject: str, *, trusted: bool = False) -> Attempt:
        """Count an attempt, or say how long the subject still has to wait; one round trip.

        `trusted` attempts are not counted among those of everybody, nor held up by them. While Redis is away this
        process admits the free attempts in each longest pause by itself. Raises ServiceBusy.
        """
        if not self.switched_on:
            return Attempt(number=1, wait=timedelta())
        try:
            return self._counted(name, subject, trusted=trusted)
        except RedisUnavailable:
            hit = self.local.hit(self._key(name, subject), [(self.free, self.longest_pause)])
            wait = timedelta() if hit.allowed else hit.wait
            return Attempt(number=int(hit.allowed), wait=wait, trusted=trusted, counted_here=True)

    def refund(self, name: str, subject: str, attempt: Attempt) -> None:
        """Take back an attempt that was right, or never judged. Somebody else's wrong ones stay counted."""
        if not self.switched_on:
            return
        if attempt.counted_here:
            self.local.take_back(self._key(name, subject))
            return
        with suppress(RedisUnavailable, ServiceBusy):  # it is forgotten by itself
            self.store.run_all(
                [
                    (FORGIVE, self._key(name, subject), (attempt.number,)),
                    *([] if attempt.trusted or not self.global_limit else [(UNDO_HIT, self._key(name, ""), ())]),
                ]
            )

    def _counted(self, name: str, subject: str, *, trusted: bool) -> Attempt:
        key, everybody = self._key(name, subject), self._key(name, "")
        pauses = (self.free, self.first_pause // _MS, self.longest_pause // _MS, self.forget // _MS)
        if trusted or not self.global_limit:
            number, wait = self.store.run(ATTEMPT, key, *pauses)
            return Attempt(number=number, wait=timedelta(milliseconds=wait), trusted=trusted)
        (number, wait), (admitted, full) = self.store.run_all(
            [(ATTEMPT, key, pauses), (HIT, everybody, script_arguments(self.global_limit))]
        )
        # What one of them refuses, the other one gives back: for that moment it may count too many, never too few.
        if wait and admitted:
            self.store.run(UNDO_HIT, everybody)
        if not wait and not admitted:
            self.store.run(FORGIVE, key, number)
            return Attempt(number=0, wait=timedelta(milliseconds=full))
        return Attempt(number=number, wait=timedelta(milliseconds=wait))

    def _key(self, name: str, subject: str) -> str:
        return f"throttle:{name}:{self.digests.of(name, subject).hex()[:32] if subject else 'everybody'}"
