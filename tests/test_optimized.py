"""`python -OO`, which removes docstrings: the API answers with the same error codes, messages and Swagger document."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from auth_service.errors import error_classes
from auth_service.settings import SECRETS, Settings
from tests.support.documents import ROOT
from tests.support.optimized import report

pytestmark = pytest.mark.slow


def optimized_report(settings: Settings, *, email: str) -> dict[str, Any]:
    """The report of an API with these settings that runs under `python -OO`."""
    environment = {
        "APP_ENV": settings.app_env,
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "DATA_DIR": str(settings.data_dir),
        **{name.upper(): settings.secret(name) for name in SECRETS},
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }
    ended = subprocess.run(
        [sys.executable, "-OO", "-m", "tests.support.optimized", email],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    printed: dict[str, Any] = json.loads(ended.stdout)
    return printed


@pytest.mark.timeout(300)  # Python compiles every library anew where it may not keep what it compiled for -OO
def test_errors_and_the_swagger_document_are_the_same_without_docstrings(
    app: Flask, make_settings: Callable[..., Settings]
) -> None:
    usual = report(app, email="usual@example.org")
    optimized = optimized_report(make_settings(), email="optimized@example.org")

    assert usual.pop("docstring")
    assert optimized.pop("docstring") is None, "-OO did not remove docstrings"
    assert optimized == usual
    assert [error and error["code"] for _, error in usual["answers"]] == [
        None, "email_taken", "user_unknown", "validation_failed", "token_missing", "path_unknown", "method_not_allowed",
    ]  # fmt: skip
    assert usual["errors"].keys() == {error.code for error in error_classes()}
