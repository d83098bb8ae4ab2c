"""Listening addresses: their form in URLs, and whether a port is in use."""

import errno
import socket
import time
from datetime import timedelta

from auth_service import clock


def address(host: str, port: int) -> str:
    """Host and port in the form of URLs and of gunicorn: IPv6 in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def is_taken(host: str, port: int, *, patience: timedelta = timedelta()) -> bool:
    """Whether another process listens on the port, during all of `patience`.

    Old connections in TIME_WAIT do not count. Another process can still take the port between this check and the bind:
    the check reports mistakes, it does not reserve the port.
    """
    deadline = clock.monotonic() + patience.total_seconds()
    while _is_in_use(host.strip("[]"), port):
        if clock.monotonic() >= deadline:
            return True
        time.sleep(0.1)
    return False


def _is_in_use(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Without SO_REUSEPORT, which would allow the bind beside another process that has also set it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
