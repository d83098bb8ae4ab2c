"""The client's IP address behind trusted proxies (`X-Forwarded-For`), and the network that rate limits count."""

import ipaddress
import re
from functools import lru_cache

from flask import request

from auth_service.adapters.redis.rate_limiter import network_of
from auth_service.api.current import settings
from auth_service.settings import Network

MAX_HOPS = 50
"""Bounds the work that a long `X-Forwarded-For` causes."""

HOP = re.compile(
    r"""(?:(?i:for)=)?("?)(?:\[(?P<v6>[^\[\]]*)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}|(?P<bare>.*))\1"""
)
"""One hop as proxies write it: an address, also with a port (Azure, HAProxy), in brackets or quotes (RFC 7239, 6)."""


def client_network() -> str:
    """Return the network that rate limits count this request under: one IPv4 address, or a /64 of IPv6."""
    return network_of(client_address())


def client_address() -> str:
    """Return the IP address of the client of this request."""
    forwarded = request.headers.get("X-Forwarded-For")
    return str(address_behind_proxies(request.remote_addr, forwarded, settings().trusted_proxies))


def address_behind_proxies(
    peer: str | None, forwarded: str | None, trusted: tuple[Network, ...]
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the rightmost hop that is no trusted proxy if the peer is a trusted proxy; otherwise the peer.

    Hops to the left of it are written by the client and can be forged. A hop may have a port, which is ignored. A hop
    that is no IP address ends the search with the hop before it, so that every request has an address that rate limits
    can count. Empty hops do not count (RFC 9110, 5.6.1).
    """
    client = _parsed(peer) or ipaddress.IPv4Address(0)
    if not forwarded or not _is_trusted(client, trusted):
        return client
    for hop in reversed(forwarded.split(",")[-MAX_HOPS:]):
        if not hop.strip():
            continue
        address = _parsed(hop)
        if address is None:
            return client
        client = address
        if not _is_trusted(address, trusted):
            return address
    return client


@lru_cache(maxsize=256)
def _parsed(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    match = HOP.fullmatch((text or "").strip())
    if match is None:
        return None
    try:
        # Without the zone of a link-local address (`fe80::1%eth0`): it names an interface of the proxy.
        address = ipaddress.ip_address((match["v6"] or match["v4"] or match["bare"] or "").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_trusted(address: ipaddress.IPv4Address | ipaddress.IPv6Address, trusted: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
