"""`manage.py api`: the service, as one process tree."""

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

    In production this process becomes gunicorn. In `local` and `test` it also starts engines that are not named,
    migrates the database and runs the mailer, and stops all of it on Ctrl-C.
    """
    settings = read_settings()
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *([path] if path else [])])
    if settings.production:
        os.execv(GUNICORN[0], GUNICORN)  # noqa: S606 - arguments of our own
    # There is nothing to clean up yet. As a KeyboardInterrupt, a Ctrl-C might be lost in what follows: Python keeps to
    # itself those that come while it tidies up after an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from auth_service.embedded.supervisor import supervise  # noqa: PLC0415 - only where there is something to supervise

    manage = [sys.executable, str(ROOT / "manage.py")]
    sys.exit(supervise(settings, with_engines=with_engines, gunicorn=GUNICORN, manage=manage))
