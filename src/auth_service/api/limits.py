"""Whose request it is, for counting: the client's network, found through trusted proxies only."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from flask import current_app, request

from auth_service.adapters.limiter import Limit, Windows
from auth_service.errors import TooManyRequests
from auth_service.settings import Network, Rate, Settings
from auth_service.wiring import Services

MOST_HOPS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class PerClient:
    """A limit that counts by client network. `setting` is the name of the setting that holds its rate."""

    setting: str

    def count(self, services: Services) -> None:
        """Count this request. Raises TooManyRequests."""
        windows = self.windows(services.settings)
        hit = services.limiter.hit(Limit(name=self.setting, windows=windows, subject=client_network()))
        if not hit.allowed:
            raise TooManyRequests(retry_after=hit.wait.total_seconds())

    def windows(self, settings: Settings) -> Windows:
        """The windows that are in force."""
        rate: Rate = getattr(settings, self.setting)
        return rate.windows


def client_network() -> str:
    """The network that this request is counted under: one IPv4 address, or a /64 of IPv6."""
    settings: Settings = current_app.extensions["auth_service"].settings
    address = client_address(request.remote_addr, request.headers.get("X-Forwarded-For"), settings.trusted_proxies)
    return _network(address)


def client_address(
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
        address = ipaddress.ip_address((text or "").strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=256)
def _network(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _is_trusted(address: ipaddress.IPv4Address | ipaddress.IPv6Address, trusted: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
