"""Login throttle against brute force: the pause doubles with each failed attempt; no permanent lockout."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import NOW, RedisClient, Script
from auth_service.adapters.redis.rate_limiter import HIT, UNDO_HIT, LocalRateLimiter, Windows, script_arguments
from auth_service.errors import RedisUnavailable, ServiceBusy

_MS = timedelta(milliseconds=1)

# An attempt is counted before the password is checked, so that concurrent attempts cannot bypass the throttle (race).
ATTEMPT = Script(
    NOW
    + """
local free, first, longest, forget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local stored = redis.call('HMGET', KEYS[1], 'attempts', 'until')
local attempts, pause_ends = tonumber(stored[1] or '0'), tonumber(stored[2] or '0')
if pause_ends > now then return {0, pause_ends - now} end
attempts = attempts + 1
local pause = 0
if attempts >= free then pause = math.min(first * 2 ^ (attempts - free), longest) end
redis.call('HSET', KEYS[1], 'attempts', attempts, 'until', now + math.floor(pause))
redis.call('PEXPIRE', KEYS[1], forget)
return {attempts, 0}
"""
)

# Refunds one attempt. Its pause ends too, unless a later attempt of another client has set a new pause.
REFUND = Script(
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
    """One attempt to present a secret (password), and how it was counted."""

    number: int
    """The number of the attempt for its subject; zero if it has to wait and was not counted."""
    wait: timedelta
    trusted: bool = False
    """Whether it came from a known device and was not counted under the global limit."""
    counted_here: bool = False
    """Whether Redis was unavailable and this process counted the attempt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoginThrottle:
    """Throttles attempts to present a secret, for each subject. Redis stores digests of the subjects, no addresses."""

    store: RedisClient
    digests: Digests
    free: int
    """Number of the attempt that starts the first pause."""
    first_pause: timedelta
    longest_pause: timedelta
    forget: timedelta
    """After this time without an attempt the count starts again."""
    global_limit: Windows = ()
    """Global limit of failed attempts; beyond it only `trusted` attempts are admitted (password spraying)."""
    local: LocalRateLimiter = field(default_factory=LocalRateLimiter, repr=False)
    switched_on: bool = True

    def attempt(self, name: str, subject: str, *, trusted: bool = False) -> Attempt:
        """Count an attempt, or return how long the subject still has to wait; one round trip.

        `trusted` attempts, from known devices, are neither counted nor limited by the global limit. While Redis is
        unavailable, this process admits `free` attempts in each `longest_pause`. Raises ServiceBusy.
        """
        if not self.switched_on:
            return Attempt(number=1, wait=timedelta())
        try:
            return self._count(name, subject, trusted=trusted)
        except RedisUnavailable:
            hit = self.local.hit(self._key(name, subject), [(self.free, self.longest_pause)])
            wait = timedelta() if hit.allowed else hit.wait
            return Attempt(number=int(hit.allowed), wait=wait, trusted=trusted, counted_here=True)

    def refund(self, name: str, subject: str, attempt: Attempt) -> None:
        """Refund an attempt that succeeded or could not be verified. Failed attempts of other clients stay counted."""
        if not self.switched_on:
            return
        if attempt.counted_here:
            self.local.refund(self._key(name, subject))
            return
        with suppress(RedisUnavailable, ServiceBusy):  # the attempt expires anyway
            self.store.run_all(
                [
                    (REFUND, self._key(name, subject), (attempt.number,)),
                    *([] if attempt.trusted or not self.global_limit else [(UNDO_HIT, self._key(name, ""), ())]),
                ]
            )

    def _count(self, name: str, subject: str, *, trusted: bool) -> Attempt:
        key, global_key = self._key(name, subject), self._key(name, "")
        pauses = (self.free, self.first_pause // _MS, self.longest_pause // _MS, self.forget // _MS)
        if trusted or not self.global_limit:
            number, wait = self.store.run(ATTEMPT, key, *pauses)
            return Attempt(number=number, wait=timedelta(milliseconds=wait), trusted=trusted)
        (number, wait), (admitted, full) = self.store.run_all(
            [(ATTEMPT, key, pauses), (HIT, global_key, script_arguments(self.global_limit))]
        )
        # If one of the two counters rejects the attempt, it is refunded from the other one.
        if wait and admitted:
            self.store.run(UNDO_HIT, global_key)
        if not wait and not admitted:
            self.store.run(REFUND, key, number)
            return Attempt(number=0, wait=timedelta(milliseconds=full))
        return Attempt(number=number, wait=timedelta(milliseconds=wait))

    def _key(self, name: str, subject: str) -> str:
        return f"throttle:{name}:{self.digests.of(name, subject).hex()[:32] if subject else 'everybody'}"
