"""Graceful shutdown: the flag that a stop was requested, shared by all processes of this server."""

import mmap

_flag = mmap.mmap(-1, 1)  # anonymous and shared: forked workers see what the master process writes


def start() -> None:
    """Set the flag: `/health/ready` answers 503 from now on, so that load balancers stop sending requests."""
    _flag[0] = 1


def started() -> bool:
    """Whether a stop was requested."""
    return _flag[0] == 1
