"""Mailed codes in Redis: one key a ticket, and every transition one Lua call on it.

The key holds whose ticket it is, the keyed digest of the code, the state, the guesses and the expiry. Expiry is
decided by Redis's own clock. Losing the key costs its owner one new code, nothing else.

States: `open` (a code was mailed) → `confirmed` (the right code came, once) or `burnt` (too many wrong ones). A new
code takes the ticket back to `open`, and takes along the wrong guesses at a code that was still open: asking for a new
code does not refill the guesses. A burnt code leaves its successor a fresh count, within the ticket's total.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from auth_service.adapters.crypto import Digests
from auth_service.adapters.redis_store import NOW, RedisStore, Script

_MS = timedelta(milliseconds=1)
TICKET_BYTES = 32

ISSUE = Script(
    NOW
    + """
local subject, digest = ARGV[1], ARGV[2]
local code_ttl, ticket_ttl = tonumber(ARGV[3]), tonumber(ARGV[4])
local total_guesses = tonumber(ARGV[5])
local was = redis.call('HMGET', KEYS[1], 'subject', 'state', 'until', 'wrong', 'total', 'strange')
local wrong, total, strange = 0, 0, 0
if ARGV[6] == 'renew' and was[1] ~= subject then return -1 end
if was[1] == subject then
  total = tonumber(was[5])
  if was[2] == 'open' and tonumber(was[3]) > now then wrong, strange = tonumber(was[4]), tonumber(was[6]) end
  if total >= total_guesses then return redis.call('PTTL', KEYS[1]) end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'subject', subject, 'digest', digest, 'state', 'open',
  'until', now + code_ttl, 'wrong', wrong, 'total', total, 'strange', strange)
redis.call('PEXPIRE', KEYS[1], ticket_ttl)
return 0
"""
)

JUDGE = Script(
    NOW
    + """
local subject, digest, guesses = ARGV[1], ARGV[2], tonumber(ARGV[3])
local strange = ARGV[4] == 'strange'
local is = redis.call('HMGET', KEYS[1], 'subject', 'state', 'until', 'digest', 'strange')
if is[1] ~= subject or is[2] ~= 'open' or tonumber(is[3]) <= now then return {'expired', 0} end
if strange and tonumber(is[5]) >= guesses then return {'expired', 0} end
if is[4] == digest then
  redis.call('HDEL', KEYS[1], 'digest')
  redis.call('HSET', KEYS[1], 'state', 'confirmed')
  return {'right', 0}
end
if strange then return {'wrong', guesses - redis.call('HINCRBY', KEYS[1], 'strange', 1)} end
redis.call('HINCRBY', KEYS[1], 'total', 1)
local wrong = redis.call('HINCRBY', KEYS[1], 'wrong', 1)
if wrong >= guesses then
  redis.call('HDEL', KEYS[1], 'digest')
  redis.call('HSET', KEYS[1], 'state', 'burnt')
end
return {'wrong', guesses - wrong}
"""
)

CONFIRMED = Script(
    """
local is = redis.call('HMGET', KEYS[1], 'subject', 'state')
return is[1] == ARGV[1] and is[2] == 'confirmed' and 1 or 0
"""
)


class CodeVerdict(Enum):
    """What became of a guess."""

    RIGHT = "right"
    WRONG = "wrong"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A verdict, and how many wrong guesses remain after a wrong one."""

    verdict: CodeVerdict
    attempts_left: int = 0


def new_ticket() -> str:
    """Draw the 256 random bits that make somebody the holder of a challenge."""
    return secrets.token_urlsafe(TICKET_BYTES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenges:
    """The challenges of one purpose. `subject` names whom a challenge is about, down to the address."""

    store: RedisStore
    digests: Digests
    purpose: str
    code_lifetime: timedelta
    ticket_lifetime: timedelta
    guesses: int
    total_guesses: int

    def issue(self, *, ticket: str, subject: str, code: str) -> timedelta:
        """Make `code` the only living one of a ticket, new or not.

        Returns zero, or for how long no more codes are given because the ticket's guesses are used up.
        """
        return timedelta(milliseconds=self._issue(ticket, subject, code, "issue"))

    def renew(self, *, ticket: str, subject: str, code: str) -> timedelta | None:
        """Make `code` the only living one of a ticket that is about `subject` already; None if this one is not.

        Otherwise returns zero, or for how long no more codes are given because the ticket's guesses are used up.
        """
        milliseconds = self._issue(ticket, subject, code, "renew")
        return None if milliseconds < 0 else timedelta(milliseconds=milliseconds)

    def _issue(self, ticket: str, subject: str, code: str, how: str) -> int:
        return int(
            self.store.run(
                ISSUE,
                self._key(ticket),
                subject,
                self._digest(ticket, subject, code),
                self.code_lifetime // _MS,
                self.ticket_lifetime // _MS,
                self.total_guesses,
                how,
            )
        )

    def judge(self, *, ticket: str, subject: str, code: str, held: bool = True) -> Judgement:
        """Compare, count and spend in one step; of any number of guesses at once only those left are judged.

        Guesses of somebody who does not hold the ticket (`held` is false) are counted apart, as many as its holder has:
        when they run out nobody else is judged without the ticket, and the code stays good for its holder.
        """
        verdict, left = self.store.run(
            JUDGE,
            self._key(ticket),
            subject,
            self._digest(ticket, subject, code),
            self.guesses,
            "held" if held else "strange",
        )
        return Judgement(verdict=CodeVerdict(verdict.decode()), attempts_left=left)

    def confirmed(self, *, ticket: str, subject: str) -> bool:
        """Whether the right code came for this ticket and nothing was asked since."""
        return bool(self.store.run(CONFIRMED, self._key(ticket), subject))

    def remember_newest(self, *, ticket: str, subject: str) -> None:
        """Let `newest` find this ticket; for profiles in which a caller may come without one."""
        self.store.put(self._newest_key(subject), ticket, ttl=self.ticket_lifetime)

    def newest(self, *, subject: str) -> str | None:
        """The ticket of the newest challenge about `subject`, if it was remembered."""
        found = self.store.get(self._newest_key(subject))
        return found.decode() if found else None

    def _key(self, ticket: str) -> str:
        return f"challenge:{self.digests.of('ticket', self.purpose, ticket).hex()}"

    def _newest_key(self, subject: str) -> str:
        return f"newest:{self.digests.of('newest', self.purpose, subject).hex()}"

    def _digest(self, ticket: str, subject: str, code: str) -> bytes:
        return self.digests.of("code", self.purpose, ticket, subject, code)
