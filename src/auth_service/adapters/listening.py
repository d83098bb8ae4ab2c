"""Addresses to listen on: how they are written, and whether somebody is there already."""

import errno
import socket
import time
from datetime import timedelta

from auth_service import clock


def address(host: str, port: int) -> str:
    """A host and a port as URLs and gunicorn want them: IPv6 in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def is_taken(host: str, port: int, *, patience: timedelta = timedelta()) -> bool:
    """Whether somebody listens there, and goes on doing so for all of `patience`.

    Connections of earlier that have not run out (TIME_WAIT) do not count. Between this and listening somebody may come
    first: it is for mistakes, not for keeping somebody out.
    """
    give_up_at = clock.monotonic() + patience.total_seconds()
    while _is_in_use(host.strip("[]"), port):
        if clock.monotonic() >= give_up_at:
            return True
        time.sleep(0.1)
    return False


def _is_in_use(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Not SO_REUSEPORT: with that, we would be let in beside others who have set it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as refused:
            return refused.errno == errno.EADDRINUSE
    return False
