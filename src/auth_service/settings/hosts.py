"""Hosts, ports and files in settings: checked at the start, because libraries interpret them much later."""

import ipaddress
import os
import re

NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
LONGEST_NAME = 253


def is_host(text: str) -> bool:
    """Whether a text is an IP address, a host name, or the path of a folder with a Unix socket."""
    return is_ip(text) or text.startswith("/") or (len(text) <= LONGEST_NAME and bool(NAME.fullmatch(text)))


def is_ip(text: str) -> bool:
    """Whether a text is an IP address; an IPv6 address may have a zone (`fe80::1%eth0`)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def listening_host(value: str) -> str:
    """Check an address to listen on: an IP address, also in brackets, or a host name. Raises ValueError."""
    inside = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if value.startswith("/") or not is_host(inside) or (inside != value and ":" not in inside):
        raise ValueError("must be an IP address or a host name, without scheme and port")
    return value


def check_readable(path: str, *, what: str) -> None:
    """Raise ValueError if a file or folder does not exist or this user cannot read it."""
    try:
        os.stat(path)  # noqa: PTH116 - a path with a null byte raises ValueError in both forms
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        raise ValueError(f"{what} cannot be read: {reason}") from None
    if not os.access(path, os.R_OK):
        raise ValueError(f"{what} cannot be read: Permission denied")
