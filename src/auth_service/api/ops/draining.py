"""Whether a stop was asked for: one byte that all processes of this server share."""

import mmap

_flag = mmap.mmap(-1, 1)  # anonymous and shared: workers that are forked later see what the master writes


def start() -> None:
    """From now on `/health/ready` says 503, so that balancers look elsewhere."""
    _flag[0] = 1


def started() -> bool:
    """Whether a stop was asked for."""
    return _flag[0] == 1
