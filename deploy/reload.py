"""Reloader for development containers: runs a command and restarts it when a source file changes.

`--reload` of gunicorn cannot do this: new workers inherit the modules of the master, which preloads the application.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[1]
WATCHED = ("manage.py", "deploy", "src")
CHECK_EVERY = 1.0
RESTART_AFTER = 5.0


def main(command: Sequence[str]) -> int:
    """Run the command until a signal arrives; returns 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    child = None
    try:
        while True:
            modified = _modification_times()
            child = subprocess.Popen(command)  # noqa: S603 - from the Compose file
            _wait(child, modified)
            _stop_child(child)
    except KeyboardInterrupt:
        if child:
            _stop_child(child)
        return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait(child: subprocess.Popen[bytes], modified: dict[Path, int]) -> None:
    """Return when the source has changed, or some seconds after the command has ended."""
    ended_for = 0.0
    while ended_for < RESTART_AFTER:
        time.sleep(CHECK_EVERY)
        if _modification_times() != modified:
            print("The source has changed: restarting.", file=sys.stderr, flush=True)  # noqa: T201 - for the log
            return
        ended_for = 0.0 if child.poll() is None else ended_for + CHECK_EVERY


def _stop_child(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    child.wait()


def _modification_times() -> dict[Path, int]:
    """The modification time of each source file, in nanoseconds."""
    times: dict[Path, int] = {}
    for name in WATCHED:
        top = ROOT / name
        for path in [top] if top.is_file() else top.rglob("*"):
            try:
                if path.is_file() and path.suffix != ".pyc":
                    times[path] = path.stat().st_mtime_ns
            except FileNotFoundError:  # an editor is replacing the file
                continue
    return times


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
