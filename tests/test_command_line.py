"""Command line: help lists the commands first, `make run` prints one line for each step."""

import io
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from click.testing import CliRunner

from auth_service.cli import COMMANDS, Commands
from auth_service.embedded import supervisor

ROOT = Path(__file__).parents[1]


def test_help_lists_the_commands_of_the_service_before_the_options() -> None:
    result = CliRunner().invoke(Commands(), ["--help"])

    assert result.exit_code == 0
    assert result.output.index("Commands:") < result.output.index("Options:")
    listed = re.findall(r"^  ([a-z-]+)  ", result.output, re.MULTILINE)
    assert [name for name in listed if not name.startswith("-")] == sorted(COMMANDS)
    assert re.findall(r"^  (--?[\w-]+)", result.output, re.MULTILINE) == ["--help"]


def test_a_step_is_one_line_that_begins_with_its_name() -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        with supervisor.step("Redis") as done:
            assert printed.getvalue() == "Redis       … "
            done("127.0.0.1:6379")
        with pytest.raises(ValueError, match="broken"), supervisor.step("API"):
            raise ValueError("broken")

    assert re.fullmatch(r"Redis       … 127\.0\.0\.1:6379 \(\d\.\d s\)\nAPI         … \n", printed.getvalue())


def test_the_installation_of_packages_is_one_line() -> None:
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", ".venv/.installed"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    [pip] = [line for line in recipe.splitlines() if "pip install" in line]
    assert " --quiet " in pip
    assert len(re.findall(r"^echo ", recipe, re.MULTILINE)) == 1
