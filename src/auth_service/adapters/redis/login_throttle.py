"""Login throttle against brute force: the pause doubles with each failed attempt; no permanent lockout."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import NOW, RedisClient, Script
from auth_service.adapters.redis.rate_limiter import HIT, UNDO_HIT, LocalRateLimiter, Windows, script_arguments
from auth_service.errors import RedisUnavailable, ServiceBusy

_MS = timedelta(milliseconds=1)

DAY = timedelta(days=1)
MOST_NETWORKS = 256
"""How many networks one key stores. A key that is full admits no attempts of the reserved share."""
MOST_FAILURES = 90
"""Failed attempts of one subject beyond which there is no reserved share: NIST SP 800-63B-4, 3.2.2, allows 100, and one
attempt a day remains."""

# An attempt is counted before the password is checked, so that concurrent attempts cannot bypass the throttle (race).
#
# The reserved share: during a pause, a network that has not failed for the subject in the last day gets one attempt,
# and all networks together get a limited number of them a day. An attacker who keeps an address in its pause would
# otherwise lock its owner out of every unknown device (denial of service). Such an attempt neither ends nor extends the
# pause.
#
# A key is a hash: `attempts`, `until` (the end of the pause), `reserved` (all attempts of the share that were not
# refunded), and for each network the instant of its newest attempt (`f:`) and of its attempt of the share (`r:`).
ATTEMPT = Script(
    NOW
    + """
local free, first, longest, forget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local network, share, day = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local most_networks, most_failures = tonumber(ARGV[8]), tonumber(ARGV[9])
local key, failed_at, reserved_at = KEYS[1], 'f:' .. network, 'r:' .. network
local stored = redis.call('HMGET', key, 'attempts', 'until', 'reserved', failed_at)
local attempts, pause_ends = tonumber(stored[1] or '0'), tonumber(stored[2] or '0')
local reserved, last = tonumber(stored[3] or '0'), tonumber(stored[4] or '0')

local function forget_old_networks()
  local used, all = 0, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local kind = string.sub(all[i], 1, 2)
    if kind == 'f:' or kind == 'r:' then
      if tonumber(all[i + 1]) + day <= now then redis.call('HDEL', key, all[i])
      elseif kind == 'r:' then used = used + 1 end
    end
  end
  return used
end

if pause_ends > now then
  local rejected = {0, pause_ends - now, 0, 0, 0}
  if network == '' or last + day > now or attempts + reserved >= most_failures then return rejected end
  if forget_old_networks() >= share or redis.call('HLEN', key) >= most_networks then return rejected end
  redis.call('HSET', key, 'reserved', reserved + 1, failed_at, now, reserved_at, now)
  redis.call('PEXPIRE', key, forget)
  return {attempts, 0, now, last, 1}
end
attempts = attempts + 1
local pause = 0
if attempts >= free then pause = math.min(first * 2 ^ (attempts - free), longest) end
redis.call('HSET', key, 'attempts', attempts, 'until', now + math.floor(pause))
if network ~= '' then
  if redis.call('HLEN', key) >= most_networks then forget_old_networks() end
  if redis.call('HLEN', key) < most_networks then redis.call('HSET', key, failed_at, now) end
end
redis.call('PEXPIRE', key, forget)
return {attempts, 0, now, last, 0}
"""
)

# Refunds one attempt, and restores what the key stored about the network before it. The pause of the attempt ends too,
# unless a later attempt of another client has set a new pause.
REFUND = Script(
    """
local key, number, network, instant, last, is_reserved = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local stored = redis.call('HMGET', key, 'attempts', 'reserved', 'f:' .. network)
local attempts, reserved = tonumber(stored[1] or '0'), tonumber(stored[2] or '0')
if stored[3] == instant then
  if last == '0' then redis.call('HDEL', key, 'f:' .. network) else redis.call('HSET', key, 'f:' .. network, last) end
end
if is_reserved then
  if redis.call('HDEL', key, 'r:' .. network) == 1 then
    redis.call('HSET', key, 'reserved', math.max(reserved - 1, 0))
  end
  return 1
end
if attempts <= 1 and reserved == 0 then return redis.call('DEL', key) end
redis.call('HSET', key, 'attempts', math.max(attempts - 1, 0))
if attempts == tonumber(number) then redis.call('HSET', key, 'until', 0) end
return 1
"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt to present a secret (password), and how it was counted."""

    number: int
    """The number of the attempt for its subject; zero if it has to wait and was not counted."""
    wait: timedelta
    known_device: bool = False
    """Whether it came from a known device and was not counted under the global limit."""
    counted_here: bool = False
    """Whether Redis was unavailable and this process counted the attempt."""
    counted_as: tuple[str | int, ...] = ()
    """What a refund needs: the digest of the network and the values that the script returned."""


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
    reserved: int = 0
    """Attempts in 24 hours that pauses of a subject admit: one for each network that has not failed for the subject."""
    global_limit: Windows = ()
    """Global limit of failed attempts; beyond it only known devices are admitted (password spraying)."""
    local: LocalRateLimiter = field(default_factory=LocalRateLimiter, repr=False)
    enabled: bool = True

    def attempt(self, name: str, subject: str, *, network: str = "", known_device: bool = False) -> Attempt:
        """Count an attempt, or return how long the subject still has to wait; one round trip.

        During a pause, a `network` that has not failed for the subject gets one attempt of the reserved share; without
        a `network` there is no reserved share. Attempts from a `known_device` are neither counted nor limited
        by the global limit. While Redis is unavailable, this process admits `free` attempts in each `longest_pause`,
        and there is no reserved share. Raises ServiceBusy.
        """
        if not self.enabled:
            return Attempt(number=1, wait=timedelta())
        try:
            return self._count(name, subject, network=network, known_device=known_device)
        except RedisUnavailable:
            hit = self.local.hit(self._key(name, subject), [(self.free, self.longest_pause)])
            wait = timedelta() if hit.allowed else hit.wait
            return Attempt(number=int(hit.allowed), wait=wait, known_device=known_device, counted_here=True)

    def refund(self, name: str, subject: str, attempt: Attempt) -> None:
        """Refund an attempt that succeeded or could not be verified. Failed attempts of other clients stay counted."""
        if not self.enabled:
            return
        if attempt.counted_here:
            self.local.refund(self._key(name, subject))
            return
        with suppress(RedisUnavailable, ServiceBusy):  # the attempt expires anyway
            self.store.run_all(
                [
                    (REFUND, self._key(name, subject), (attempt.number, *attempt.counted_as)),
                    *([] if attempt.known_device or not self.global_limit else [(UNDO_HIT, self._key(name, ""), ())]),
                ]
            )

    def _count(self, name: str, subject: str, *, network: str, known_device: bool) -> Attempt:
        key, global_key = self._key(name, subject), self._key(name, "")
        network_digest = self.digests.of(name, subject, network).hex()[:16] if network else ""
        call = (ATTEMPT, key, self._arguments(network_digest))
        if known_device or not self.global_limit:
            [answer] = self.store.run_all([call])
            return _counted(answer, network_digest, known_device=known_device)
        answer, (admitted, global_wait) = self.store.run_all(
            [call, (HIT, global_key, script_arguments(self.global_limit))]
        )
        attempt = _counted(answer, network_digest, known_device=known_device)
        # If one of the two counters rejects the attempt, it is refunded from the other one.
        if attempt.wait and admitted:
            self.store.run(UNDO_HIT, global_key)
        if not attempt.wait and not admitted:
            self.store.run(REFUND, key, attempt.number, *attempt.counted_as)
            return Attempt(number=0, wait=timedelta(milliseconds=global_wait))
        return attempt

    def _arguments(self, network_digest: str) -> tuple[str | int, ...]:
        pauses = (self.free, self.first_pause // _MS, self.longest_pause // _MS, self.forget // _MS)
        return (*pauses, network_digest, self.reserved, DAY // _MS, MOST_NETWORKS, MOST_FAILURES)

    def _key(self, name: str, subject: str) -> str:
        return f"throttle:{name}:{self.digests.of(name, subject).hex()[:32] if subject else 'everybody'}"


def _counted(answer: list[int], network_digest: str, *, known_device: bool) -> Attempt:
    number, wait, instant, last, is_reserved = answer
    return Attempt(
        number=number,
        wait=timedelta(milliseconds=wait),
        known_device=known_device,
        counted_as=(network_digest, instant, last, is_reserved),
    )
