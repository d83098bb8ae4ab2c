"""Clients generated from docs/openapi.json (OA3): no warnings, strict types, requests to a running service."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.generated_clients import CLIENTS, DOCUMENT, STEPS, check_types, run, steps
from tests.support.live import Live
from tests.support.node import install, npm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GENERATOR = Path(sys.executable).with_name("openapi-python-client")


def without_warnings(printed: str) -> None:
    assert "warn" not in printed.lower(), printed


def test_oa3_openapi_typescript_and_openapi_fetch(live: Live, tmp_path: Path) -> None:
    program = npm()
    folder = install(CLIENTS / "typescript", tmp_path, "tsconfig.json", "flow.ts")

    without_warnings(run([program, "exec", "--offline", "--", "openapi-typescript", DOCUMENT, "-o", "api.ts"], folder))
    run([program, "exec", "--offline", "--", "tsc", "-p", "."], folder)
    printed = run(["node", "out/flow.js", f"http://127.0.0.1:{live.port}", "typescript@example.org"], folder)

    assert steps(printed) == STEPS


def test_oa3_openapi_python_client(live: Live, tmp_path: Path) -> None:
    shutil.copytree(CLIENTS / "python", tmp_path, dirs_exist_ok=True)
    path = f"{GENERATOR.parent}{os.pathsep}{os.environ['PATH']}"  # it formats with ruff
    options = ["--meta", "none", "--fail-on-warning", "--output-path", "auth_api"]

    without_warnings(run([GENERATOR, "generate", "--path", DOCUMENT, *options], tmp_path, PATH=path))
    check_types(tmp_path)
    printed = run([sys.executable, "flow.py", f"http://127.0.0.1:{live.port}", "python@example.org"], tmp_path)

    assert steps(printed) == STEPS
