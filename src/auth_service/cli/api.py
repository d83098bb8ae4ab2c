"""`manage.py api`: starts the API, in development also embedded engines and the mail worker."""

import os
import signal
import sys
from pathlib import Path

import click

from auth_service.cli.engines import with_engines
from auth_service.cli.settings import read_settings

ROOT = Path(__file__).parents[3]
GUNICORN = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "deploy" / "gunicorn.conf.py")]


@click.command()
def api() -> None:
    """Start the API.

    In production this process becomes gunicorn. In `local` and `test` it also starts embedded engines if none are
    configured, migrates the database and runs the mail worker; Ctrl-C stops all of them.
    """
    settings = read_settings()
    python_path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *([python_path] if python_path else [])])
    if settings.production:
        os.execv(GUNICORN[0], GUNICORN)  # noqa: S606 - no external input
    # Ctrl-C ends the process immediately, since there is nothing to clean up yet. A KeyboardInterrupt could be lost
    # during the next import: Python discards one that is raised while it cleans up after an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(f"Starting with APP_ENV={settings.app_env} …", flush=True)  # the next import takes seconds on a busy machine
    from auth_service.embedded.supervisor import supervise  # noqa: PLC0415 - not in production

    manage = [sys.executable, str(ROOT / "manage.py")]
    sys.exit(supervise(settings, with_engines=with_engines, gunicorn=GUNICORN, manage=manage))
