"""Node and npm in tests: installs packages as a lock file says, or skips the test where that is not possible."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

OFFLINE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH")


def node(*, at_least: tuple[int, int] = (18, 0)) -> str:
    """The path of node; skips the test if it is missing or too old."""
    path = shutil.which("node")
    if not path:
        pytest.skip("node is not installed (.ci/run installs it)")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = map(int, version.strip().removeprefix("v").split(".")[:2])
    if (major, minor) < at_least:
        pytest.skip(f"node is too old: {version.strip()}, needed is {'.'.join(map(str, at_least))}")
    return path


def npm() -> str:
    """The path of npm; skips the test if it is missing."""
    path = shutil.which("npm")
    if not path or not shutil.which("node"):
        pytest.skip("node or npm is not installed (.ci/run installs them)")
    return path


def install(source: Path, folder: Path, *files: str) -> Path:
    """Copy these files, package.json and package-lock.json, and install as `npm ci` does; return the folder."""
    program = npm()
    for name in ("package.json", "package-lock.json", *files):
        shutil.copy(source / name, folder)
    result = subprocess.run(
        [program, "ci", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    if OFFLINE.search(result.stderr):
        pytest.skip("npm cannot reach the registry")
    assert result.returncode == 0, result.stderr
    return folder
