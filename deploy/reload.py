"""Runs a command, and runs it anew whenever a file of the source has changed; for a developer's containers.

gunicorn's own `--reload` starts new workers from a master that keeps the modules it has loaded: here, all of them.
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
LOOK_EVERY = 1.0
TRY_AGAIN_AFTER = 5.0


def main(command: Sequence[str]) -> int:
    """Run until a signal comes; to be stopped is no failure."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    child = None
    try:
        while True:
            seen = _source()
            child = subprocess.Popen(command)  # noqa: S603 - what the compose file says
            _wait(child, seen)
            _end(child)
    except KeyboardInterrupt:
        if child:
            _end(child)
        return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait(child: subprocess.Popen[bytes], seen: dict[Path, int]) -> None:
    """Return when the source has changed, or when the command has been away for a while."""
    away = 0.0
    while away < TRY_AGAIN_AFTER:
        time.sleep(LOOK_EVERY)
        if _source() != seen:
            print("The source has changed: starting anew.", file=sys.stderr, flush=True)  # noqa: T201 - for the log
            return
        away = 0.0 if child.poll() is None else away + LOOK_EVERY


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    child.wait()


def _source() -> dict[Path, int]:
    """When each file was changed."""
    found: dict[Path, int] = {}
    for name in WATCHED:
        top = ROOT / name
        for path in [top] if top.is_file() else top.rglob("*"):
            try:
                if path.is_file() and path.suffix != ".pyc":
                    found[path] = path.stat().st_mtime_ns
            except FileNotFoundError:  # an editor is just replacing it
                continue
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
