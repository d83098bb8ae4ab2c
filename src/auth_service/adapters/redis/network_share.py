"""Reserved share of a daily limit, for networks without a request in the last 24 hours (denial of service)."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.redis.client import NOW, Argument, Script

DAY = timedelta(days=1)
_MS = timedelta(milliseconds=1)

# A key is a list of the allowed requests of the last day, newest first: an instant and the digest of a network each.
# The list never gets longer than the limit, so the memory of one subject is bounded.
SHARED_HIT = Script(
    NOW
    + """
local limit, open, day, network = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local instants, own = {}, nil
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, limit - 1)) do
  local separator = string.find(entry, ' ', 1, true)
  local instant = tonumber(string.sub(entry, 1, separator - 1))
  if instant + day <= now then break end
  table.insert(instants, instant)
  if not own and string.sub(entry, separator + 1) == network then own = instant end
end
local function wait()
  if #instants < open then return 0 end
  local until_open = instants[open] + day - now
  if #instants < limit and not own then return 0 end
  local until_reserved = math.max(own and own + day - now or 0, instants[limit] and instants[limit] + day - now or 0)
  return math.min(until_open, until_reserved)
end
local rejected_for = wait()
if rejected_for > 0 then return {0, rejected_for} end
redis.call('LPUSH', KEYS[1], now .. ' ' .. network)
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('PEXPIRE', KEYS[1], day)
table.insert(instants, 1, now)
own = now
return {1, wait()}
"""
)

# Removes the newest request of the network, not of the key: that may be a request of another client.
UNDO_SHARED_HIT = Script(
    """
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if string.match(entry, ' (.*)$') == ARGV[1] then return redis.call('LREM', KEYS[1], 1, entry) end
end
return 0
"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedLimit:
    """A limit of one day for one subject, which no small number of networks can use up.

    Any network may use the first requests of the day. The last ones, the reserved share, are for networks that had none
    in the last 24 hours: an attacker who knows an address could otherwise lock its owner out with one or two networks.
    """

    name: str
    subject: str
    network: str
    limit: int
    reserved: int

    def call(self, key: str, digests: Digests) -> tuple[Script, str, list[Argument]]:
        """Return the script call that counts a request under `key`; Redis gets a digest of the network."""
        open_to_all = max(1, self.limit - self.reserved)
        return SHARED_HIT, key, [self.limit, open_to_all, DAY // _MS, self._network_digest(digests)]

    def refund(self, key: str, digests: Digests) -> tuple[Script, str, list[Argument]]:
        """Return the script call that refunds the request."""
        return UNDO_SHARED_HIT, key, [self._network_digest(digests)]

    def _network_digest(self, digests: Digests) -> str:
        return digests.of(self.name, self.subject, self.network).hex()[:16]
