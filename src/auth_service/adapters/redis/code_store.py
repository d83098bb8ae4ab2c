"""Code store: one-time codes in Redis, one key for each flow ticket; every transition is one Lua call on that key.

A key holds the digest of the binding (what the code is for), the keyed digest of the code, the state, the failed
attempts and the expiry by the clock of Redis. A leak of Redis reveals neither codes nor addresses. If Redis loses a
key, the user has to request a new code.

States: `open` (a code was issued) → `confirmed` (the right code was accepted, once) or `burnt` (too many failed
attempts made the code invalid). A new code sets the state to `open`. It inherits the failed attempts of a code that was
open, so that a resend does not grant more attempts (brute force). After an invalidated code the count restarts, within
the total of the ticket (decision 3).
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import NOW, RedisClient, Script

_MS = timedelta(milliseconds=1)
TICKET_BYTES = 32

ISSUE = Script(
    NOW
    + """
local binding, digest = ARGV[1], ARGV[2]
local code_ttl, ticket_ttl = tonumber(ARGV[3]), tonumber(ARGV[4])
local total_attempts = tonumber(ARGV[5])
local old = redis.call('HMGET', KEYS[1], 'binding', 'state', 'until', 'wrong', 'total', 'unbound', 'number')
local wrong, total, unbound = 0, 0, 0
if ARGV[6] == 'renew' and old[1] ~= binding then return {-1, 0} end
if old[1] == binding then
  total = tonumber(old[5])
  if old[2] == 'open' and tonumber(old[3]) > now then wrong, unbound = tonumber(old[4]), tonumber(old[6]) end
  if total >= total_attempts then return {redis.call('PTTL', KEYS[1]), 0} end
end
local number = math.max(now, tonumber(old[7] or '0') + 1)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'binding', binding, 'digest', digest, 'state', 'open',
  'until', now + code_ttl, 'wrong', wrong, 'total', total, 'unbound', unbound, 'number', number)
redis.call('PEXPIRE', KEYS[1], ticket_ttl)
return {0, number}
"""
)

VERIFY_AND_CONSUME = Script(
    NOW
    + """
local binding, digest, attempts = ARGV[1], ARGV[2], tonumber(ARGV[3])
local is_unbound = ARGV[4] == 'unbound'
local key = redis.call('HMGET', KEYS[1], 'binding', 'state', 'until', 'digest', 'unbound')
if key[1] ~= binding or key[2] ~= 'open' or tonumber(key[3]) <= now then return {'expired', 0} end
if is_unbound and tonumber(key[5]) >= attempts then return {'expired', 0} end
if key[4] == digest then
  redis.call('HDEL', KEYS[1], 'digest')
  redis.call('HSET', KEYS[1], 'state', 'confirmed')
  return {'accepted', 0}
end
if is_unbound then return {'wrong', attempts - redis.call('HINCRBY', KEYS[1], 'unbound', 1)} end
redis.call('HINCRBY', KEYS[1], 'total', 1)
local wrong = redis.call('HINCRBY', KEYS[1], 'wrong', 1)
if wrong >= attempts then
  redis.call('HDEL', KEYS[1], 'digest')
  redis.call('HSET', KEYS[1], 'state', 'burnt')
end
return {'wrong', attempts - wrong}
"""
)

WAS_ACCEPTED = Script(
    """
local key = redis.call('HMGET', KEYS[1], 'binding', 'state')
return key[1] == ARGV[1] and key[2] == 'confirmed' and 1 or 0
"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class IssueResult:
    """Whether a code was issued to a ticket."""

    wait: timedelta
    """Zero, or the time until the ticket can get another code because its attempts are used up."""
    number: int
    """Grows with each code of the ticket, so that the newest code has the greatest number; zero if none was issued."""


class VerificationOutcome(Enum):
    """The result of an attempt at a code."""

    ACCEPTED = "accepted"
    WRONG = "wrong"
    EXPIRED = "expired"
    """No open code with attempts left: expired, consumed, invalidated, replaced or never issued."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationResult:
    """The outcome of an attempt, and the number of attempts left after a wrong code."""

    outcome: VerificationOutcome
    attempts_left: int = 0


def new_ticket() -> str:
    """Generate a flow ticket of 256 random bits. Only its holder can use the bound attempts of its code."""
    return secrets.token_urlsafe(TICKET_BYTES)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeStore:
    """The state of emailed codes. A `binding` names what a code is for; the code is valid for that binding only."""

    redis: RedisClient
    digests: Digests
    code_lifetime: timedelta
    ticket_lifetime: timedelta
    attempts: int
    """Bound attempts after which a code is invalid. Unbound attempts have the same limit, but do not invalidate it."""
    total_attempts: int
    """Failed attempts of a ticket over all of its codes, after which it gets no further code."""

    def issue(self, *, ticket: str, binding: str, code: str) -> IssueResult:
        """Make `code` the only valid code of a ticket, which may be new."""
        return self._issue(ticket, binding, code, "issue")

    def renew(self, *, ticket: str, binding: str, code: str) -> IssueResult | None:
        """Make `code` the only valid code of an existing ticket; None if no ticket has this binding."""
        result = self._issue(ticket, binding, code, "renew")
        return None if result.wait < timedelta() else result

    def slot(self, ticket: str) -> bytes:
        """Return the digest that identifies a ticket outside of Redis: all emails with codes of the ticket have it."""
        return self.digests.of("slot", ticket)

    def _issue(self, ticket: str, binding: str, code: str, mode: str) -> IssueResult:
        wait, number = self.redis.run(
            ISSUE,
            self._key(ticket),
            self._binding_digest(binding),
            self._code_digest(ticket, binding, code),
            self.code_lifetime // _MS,
            self.ticket_lifetime // _MS,
            self.total_attempts,
            mode,
        )
        return IssueResult(wait=timedelta(milliseconds=wait), number=number)

    def verify_and_consume(
        self, *, ticket: str, binding: str, code: str, is_unbound: bool = False
    ) -> VerificationResult:
        """Compare, count and consume a code atomically: concurrent attempts cannot exceed the limit (brute force).

        Unbound attempts, by a client without the ticket, are counted separately. When they are used up, further unbound
        attempts are rejected unchecked, and the code stays valid for the holder of the ticket: an attacker cannot lock
        the user out.
        """
        outcome, attempts_left = self.redis.run(
            VERIFY_AND_CONSUME,
            self._key(ticket),
            self._binding_digest(binding),
            self._code_digest(ticket, binding, code),
            self.attempts,
            "unbound" if is_unbound else "bound",
        )
        return VerificationResult(outcome=VerificationOutcome(outcome.decode()), attempts_left=attempts_left)

    def was_accepted(self, *, ticket: str, binding: str) -> bool:
        """Whether the code of a ticket was accepted and no newer code was issued."""
        return bool(self.redis.run(WAS_ACCEPTED, self._key(ticket), self._binding_digest(binding)))

    def remember_newest(self, *, ticket: str, binding: str) -> None:
        """Store this ticket as the newest of its binding, for unbound attempts (see `newest`)."""
        self.redis.put(self._newest_key(binding), ticket, ttl=self.ticket_lifetime)

    def newest(self, *, binding: str) -> str | None:
        """The newest ticket of a binding; None if none is stored."""
        ticket = self.redis.get(self._newest_key(binding))
        return ticket.decode() if ticket else None

    def _key(self, ticket: str) -> str:
        return f"challenge:{self.digests.of('ticket', ticket).hex()}"

    def _newest_key(self, binding: str) -> str:
        return f"newest:{self.digests.of('newest', binding).hex()}"

    def _binding_digest(self, binding: str) -> bytes:
        return self.digests.of("binding", binding)

    def _code_digest(self, ticket: str, binding: str, code: str) -> bytes:
        return self.digests.of("code", ticket, binding, code)
