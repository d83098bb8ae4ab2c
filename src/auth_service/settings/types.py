"""Types of settings: flags, seconds, rates, origins, networks; each is parsed strictly from text."""

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from auth_service.settings.database_url import postgres_url
from auth_service.settings.hosts import is_host, is_ip, listening_host
from auth_service.settings.mailbox import Mailbox, header_text, mailbox
from auth_service.settings.redis_url import redis_url
from auth_service.settings.smtp_url import SmtpUrl

SHORTEST = timedelta(seconds=1)
DEFAULT_PORTS = {"http": 80, "https": 443}
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAPPED_BITS = 96
"""The length of the prefix `::ffff:0:0` of IPv4-mapped addresses (RFC 4291, 2.5.5.2)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsRefused(Exception):
    """The settings are invalid. The text has one line for each problem, which begins with the name of the setting."""


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


def _positive(value: timedelta) -> timedelta:
    if value < SHORTEST:
        raise ValueError("at least 1 second")
    return value


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _network(value: Any) -> Network:
    """Parse a network; one of IPv4-mapped addresses becomes IPv4, because addresses of clients are compared as IPv4."""
    if not isinstance(value, Network):
        try:
            network: Network | None = ipaddress.ip_network(value)
        except ValueError:
            network = None
        if network is None:
            raise ValueError("a network reads like 10.0.0.0/8 or 192.0.2.1, and has no bits behind its prefix")
    else:
        network = value
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < MAPPED_BITS:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - MAPPED_BITS))


def _rate(value: Any) -> Any:
    return value if isinstance(value, Rate) else Rate(str(value))


def _origin(value: str) -> str:
    """Normalise an origin as browsers send it: scheme and host in lower case, and no default port.

    A trailing slash is removed, because an address copied from a browser has one.
    """
    match = re.fullmatch(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", value.lower(), re.ASCII)
    if not match or (match[3] and not 0 < int(match[3]) < 2**16):
        raise ValueError("an origin reads like https://portal.example.org, with nothing after the host or its port")
    scheme, host, port = match.groups()
    if not (is_ip(host[1:-1]) and ":" in host if host.startswith("[") else is_host(host)):
        raise ValueError("the host of an origin is a host name, an IPv4 address or an IPv6 address in brackets")
    return (
        f"{scheme}://{host}" if port is None or int(port) == DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{int(port)}"
    )


def _page_url(value: str) -> str:
    """Normalise the address under which pages are: an origin and a path, without a slash at the end."""
    match = re.fullmatch(r"(https?://[^/?#]+)((?:/[A-Za-z0-9._~-]+)*)/?", value, re.ASCII | re.IGNORECASE)
    if not match:
        raise ValueError("reads like https://portal.example.org/account, without query and fragment")
    return _origin(match[1]) + match[2]


LOOPBACK_ORIGIN = re.compile(
    r"https?://(localhost|127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\])(:[0-9]{1,5})?", re.ASCII
)
"""The origin of a page that this machine serves, as browsers send it."""


def _smtp(value: SecretStr) -> SecretStr:
    SmtpUrl.parse(value.get_secret_value())
    return value


def _text(value: str) -> str:
    """Reject control characters in a text for headers and emails: a line end would change their structure."""
    if CONTROLS.search(value):
        raise ValueError("must have no line ends and no other control characters")
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]
Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
"""A duration that may be zero, which switches the feature off: no grace period, no draining, no retention."""
PositiveSeconds = Annotated[timedelta, BeforeValidator(_seconds), AfterValidator(_positive)]
"""A duration of at least one second: zero would make tokens, codes or links useless."""
SmtpUrlText = Annotated[SecretStr, AfterValidator(_smtp)]
Sender = Annotated[Mailbox, BeforeValidator(mailbox)]
HeaderText = Annotated[str, AfterValidator(_text), AfterValidator(header_text)]
"""A text for a header of emails."""
RateLimit = Annotated[Rate, BeforeValidator(_rate)]
Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_split)]
Origin = Annotated[str, AfterValidator(_origin)]
PageUrl = Annotated[str, AfterValidator(_page_url)]
Origins = Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)]
PostgresUrl = Annotated[str, AfterValidator(postgres_url)]
RedisUrl = Annotated[str, AfterValidator(redis_url)]
ListeningHost = Annotated[str, AfterValidator(listening_host)]
Text = Annotated[str, AfterValidator(_text)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
