"""Generated clients: the generators of clients, and the flow that each client runs against a running service (OA3)."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.live import ROOT

DOCUMENT = ROOT / "docs" / "openapi.json"
CLIENTS = ROOT / "tests" / "clients" / "generated"
JARS = ROOT / ".venv" / "jars"

STEPS = [
    *("user_unknown", "sign_up", "send_code", "resend_code", "code_wrong", "confirm_email", "finish_sign_up"),
    *("credentials_rejected", "sign_in", "get_me", "refresh_tokens", "list_my_sessions", "sign_out", "token_invalid"),
]
"""The six requests of the registration, sign-in, refresh and sign-out; errors on the way by their codes."""


def run(command: Sequence[str | Path], folder: Path, **environment: str) -> str:
    """Run a program that has to succeed; return what it printed."""
    process = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=500
    )
    assert process.returncode == 0, f"{process.stdout}{process.stderr}"
    return process.stdout + process.stderr


def steps(printed: str) -> Any:
    """The steps of a flow, which are its last line."""
    return json.loads(printed.splitlines()[-1])


def check_types(folder: Path) -> None:
    """Check the types of a Python client and of its flow, strictly. Raises AssertionError."""
    run([sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "-p", "auth_api", "-m", "flow"], folder)
