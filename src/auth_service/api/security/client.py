"""The client's IP address behind trusted proxies (`X-Forwarded-For`), and the network that rate limits count."""

import ipaddress
from functools import lru_cache

from flask import request

from auth_service.adapters.redis.rate_limiter import network_of
from auth_service.api.current import settings
from auth_service.settings import Network

MOST_HOPS = 50


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
