"""Rate limits for each client network, and the client's IP address behind trusted proxies (`X-Forwarded-For`)."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from flask import request

from auth_service.adapters.redis.rate_limiter import Limit, network_of
from auth_service.api.current import services, settings
from auth_service.errors import TooManyRequests
from auth_service.settings import Network, Rate, Settings

MOST_HOPS = 50


@dataclass(frozen=True, slots=True)
class ClientRateLimit:
    """A rate limit for each client network."""

    name: str
    """Names the keys in Redis, after the setting."""
    rate: Callable[[Settings], Rate]

    def count(self) -> None:
        """Count this request. Raises TooManyRequests."""
        windows = self.rate(settings()).windows
        hit = services().limiter.hit(Limit(name=self.name, windows=windows, subject=client_network()))
        if not hit.allowed:
            raise TooManyRequests(retry_after=hit.wait.total_seconds())


LOOK_UPS = ClientRateLimit("limit_look_ups", lambda settings: settings.limit_look_ups)
SIGN_UPS = ClientRateLimit("limit_sign_ups", lambda settings: settings.limit_sign_ups)
CODE_REQUESTS = ClientRateLimit("limit_code_requests", lambda settings: settings.limit_code_requests)
CODE_ATTEMPTS = ClientRateLimit("limit_guesses", lambda settings: settings.limit_guesses)
SIGN_INS = ClientRateLimit("limit_sign_ins", lambda settings: settings.limit_sign_ins)
REFRESHES = ClientRateLimit("limit_refreshes", lambda settings: settings.limit_refreshes)
EXPORTS = ClientRateLimit("limit_exports", lambda settings: settings.limit_exports)


def client_network() -> str:
    """The network that this request is counted under: one IPv4 address, or a /64 of IPv6."""
    return network_of(client_address())


def client_address() -> str:
    """The address of the client of this request."""
    forwarded = request.headers.get("X-Forwarded-For")
    return str(address_behind_proxies(request.remote_addr, forwarded, settings().trusted_proxies))


def address_behind_proxies(
    peer: str | None, forwarded: str | None, trusted: tuple[Network, ...]
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The rightmost hop that is not a trusted proxy, as long as the peer itself is one; else the peer.

    A header that does not parse counts as absent: there is no request without an address and thus without limits.
    """
    found = _parsed(peer) or ipaddress.IPv4Address(0)
    if not forwarded or not _is_trusted(found, trusted):
        return found
    for hop in reversed(forwarded.split(",")[-MOST_HOPS:]):
        address = _parsed(hop)
        if address is None:
            return found
        found = address
        if not _is_trusted(address, trusted):
            return address
    return found


@lru_cache(maxsize=256)
def _parsed(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # Without the zone that a proxy may write behind a link-local one: it is an interface of its own.
        address = ipaddress.ip_address((text or "").strip().partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_trusted(address: ipaddress.IPv4Address | ipaddress.IPv6Address, trusted: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
