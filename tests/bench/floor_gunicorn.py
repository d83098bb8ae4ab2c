"""The service's own gunicorn settings, around the floor instead of the service."""

import gc
import runpy
from pathlib import Path
from typing import Any

_service = runpy.run_path(str(Path(__file__).parents[2] / "deploy" / "gunicorn.conf.py"))
_HOOKS_OF_THE_SERVICE = {"when_ready", "post_fork", "child_exit", "on_exit", "logger_class"}

globals().update({name: value for name, value in _service.items() if name not in _HOOKS_OF_THE_SERVICE})

wsgi_app = "tests.bench.floor:app"


def when_ready(_server: Any) -> None:
    gc.freeze()
