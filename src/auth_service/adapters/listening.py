"""Listening addresses: their form in URLs, and whether a port is in use."""

import errno
import socket
import time
from datetime import timedelta

from auth_service import clock


def address(host: str, port: int) -> str:
    """Return host and port in the form of URLs and of gunicorn: IPv6 in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def is_taken(host: str, port: int, *, patience: timedelta = timedelta()) -> bool:
    """Whether another process listens on the port and continues to do so for `patience`.

    Old connections in TIME_WAIT do not count. The check finds mistakes early but reserves nothing: another process can
    still take the port before this one binds it.
    """
    deadline = clock.monotonic() + patience.total_seconds()
    while _is_in_use(host.strip("[]"), port):
        if clock.monotonic() >= deadline:
            return True
        time.sleep(0.1)
    return False


def _is_in_use(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Not SO_REUSEPORT: the bind would succeed although another process with this option listens.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
