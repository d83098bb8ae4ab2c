"""Types of settings: flags, seconds, rates, origins, networks; each is parsed strictly from text."""

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

SHORTEST = timedelta(seconds=1)
PORTS = {"http": 80, "https": 443}
MAPPED_BITS = 96
"""The length of the prefix `::ffff:0:0` of IPv4-mapped addresses (RFC 4291, 2.5.5.2)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Rate:
    """A rate limit: pairs of a count and a window, for example "3/1m,5/1h"; every pair applies."""

    UNITS: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def __init__(self, text: str) -> None:
        """Parse the text of a setting. Raises ValueError with the expected form."""
        self.text = text
        self.windows = tuple(self._window(part) for part in text.split(","))

    def _window(self, part: str) -> tuple[int, timedelta]:
        match = re.fullmatch(r"\s*([1-9][0-9]{0,6})/([1-9][0-9]{0,3})([smhd])\s*", part)
        if not match:
            raise ValueError("a rate reads like 3/1m or 3/1m,5/1h")
        count, length, unit = match.groups()
        return int(count), timedelta(seconds=int(length) * self.UNITS[unit])

    def __repr__(self) -> str:
        return self.text


def _flag(value: Any) -> Any:
    if value in ("true", "false"):
        return value == "true"
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _seconds(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if not re.fullmatch(r"[0-9]{1,9}", str(value)):
        raise ValueError("must be a whole number of seconds")
    return timedelta(seconds=int(value))


def _lasting(value: timedelta) -> timedelta:
    if value < SHORTEST:
        raise ValueError("at least 1 second")
    return value


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _network(value: Network) -> Network:
    """A network of IPv4-mapped addresses as IPv4, because the addresses of clients are compared as IPv4."""
    mapped = value.network_address.ipv4_mapped if isinstance(value, ipaddress.IPv6Network) else None
    if mapped is None or value.prefixlen < MAPPED_BITS:
        return value
    return ipaddress.IPv4Network((mapped, value.prefixlen - MAPPED_BITS))


def _rate(value: Any) -> Any:
    return value if isinstance(value, Rate) else Rate(str(value))


def _origin(value: str) -> str:
    """An origin as browsers send it: scheme and host in lower case, and the port unless it is the scheme's own.

    A trailing slash, which browsers show, is removed.
    """
    match = re.fullmatch(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", value.lower(), re.ASCII)
    if not match or (match[3] and not 0 < int(match[3]) < 2**16):
        raise ValueError("an origin reads like https://portal.example.org, with nothing after the host or its port")
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" if port is None or int(port) == PORTS[scheme] else f"{scheme}://{host}:{int(port)}"


def _postgres(value: str) -> str:
    """Accept every URL scheme of PostgreSQL and name the installed driver, psycopg2."""
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise ValueError("must begin with postgresql://")
    return f"postgresql+psycopg2://{rest}"


Flag = Annotated[bool, BeforeValidator(_flag)]
Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
"""A duration that may be zero, which switches the feature off: no grace period, no draining, no retention."""
Lasting = Annotated[timedelta, BeforeValidator(_seconds), AfterValidator(_lasting)]
"""A duration of at least one second: zero would make tokens, codes or links useless."""
RateLimit = Annotated[Rate, BeforeValidator(_rate)]
Networks = Annotated[tuple[Annotated[Network, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_listed)]
Origin = Annotated[str, AfterValidator(_origin)]
Origins = Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_listed)]
PostgresUrl = Annotated[str, AfterValidator(_postgres)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
