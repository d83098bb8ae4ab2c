"""Gunicorn settings of the floor: those of the service, without its hooks."""

import gc
import runpy
from pathlib import Path
from typing import Any

_service = runpy.run_path(str(Path(__file__).parents[2] / "deploy" / "gunicorn.conf.py"))
_SERVICE_HOOKS = {"when_ready", "post_fork", "child_exit", "on_exit", "logger_class"}

globals().update({name: value for name, value in _service.items() if name not in _SERVICE_HOOKS})

wsgi_app = "tests.bench.floor:app"


def when_ready(_server: Any) -> None:
    gc.freeze()
