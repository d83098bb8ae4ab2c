"""SMTP URL (`SMTP_URL`): server, port, encryption and credentials, parsed strictly."""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote_to_bytes

DEFAULT_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
LAST_PORT = 65535
HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_CREDENTIAL = r"((?:[^\s:@/?#%]|%[0-9A-Fa-f]{2})+)"
URL = re.compile(
    rf"(smtps?|smtp\+starttls)://(?:{_CREDENTIAL}:{_CREDENTIAL}@)?({HOST.pattern}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?/?"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmtpUrl:
    """An SMTP server: in plaintext (`smtp`), under TLS (`smtps`) or under TLS after STARTTLS (`smtp+starttls`)."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.user is not None and self.scheme == "smtp" and not is_loopback(self.host):
            raise ValueError("credentials need smtps:// or smtp+starttls://, except to a loopback host")

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL; user and password are percent-encoded, the port defaults to 25, 465 or 587.

        Raises ValueError. Its message quotes no part of the URL, because a mistyped URL may have the password anywhere.
        """
        parts = URL.fullmatch(url)
        if parts is None:
            raise ValueError("must be like smtp+starttls://user:password@host:587, user and password percent-encoded")
        scheme, user, password, host, port = parts.groups()
        if host.startswith("["):
            host = host[1:-1]
            if not _is_ip(host):
                raise ValueError("the host in brackets is not an IPv6 address")
        if port is not None and not 1 <= int(port) <= LAST_PORT:
            raise ValueError(f"the port must be between 1 and {LAST_PORT}")
        return cls(
            scheme=scheme,
            host=host,
            port=DEFAULT_PORTS[scheme] if port is None else int(port),
            user=_decoded(user),
            password=_decoded(password),
        )


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is the loopback interface of this machine."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _decoded(credential: str | None) -> str | None:
    if credential is None:
        return None
    decoded = unquote_to_bytes(credential).decode(errors="replace")
    if "\N{REPLACEMENT CHARACTER}" in decoded or not decoded.isprintable():
        raise ValueError("user and password must be UTF-8 without control characters, percent-encoded")
    return decoded
