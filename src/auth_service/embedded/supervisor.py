"""A developer's machine: engines, migrations, API and mailer as one thing that starts and stops together."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from urllib.parse import urlsplit

from flask_migrate import upgrade
from sqlalchemy.exc import OperationalError

from auth_service import clock
from auth_service.adapters import listening
from auth_service.app import create_app
from auth_service.settings import Settings

STOP_WITHIN = 20.0
START_WITHIN = 60.0
ENGINES_WITHIN = 10.0
MAILER_REST = 2.0


class Stopped(BaseException):
    """Somebody asked us to stop. No Exception: it may come in the midst of anything, and logging, say, takes those."""


def supervise(
    settings: Settings,
    *,
    with_engines: Callable[[Settings], AbstractContextManager[Settings]],
    gunicorn: Sequence[str],
    manage: Sequence[str],
) -> int:
    """Run everything until a signal comes or the API ends; return the exit status.

    `with_engines` completes the settings and keeps the engines running that they name.
    """
    if listening.is_taken(settings.http_host, settings.http_port):
        print(f"Something else listens on port {settings.http_port}; set HTTP_PORT to another one.", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        with with_engines(settings) as complete:
            _migrate(complete)
            environment = _environment(complete)
            children = [_started(gunicorn, environment)]
            try:
                _announce(complete, children[0])
                children.append(_started([*manage, "mail", "deliver"], environment))
                return _watched(children, restart=lambda: _started([*manage, "mail", "deliver"], environment))
            finally:
                _end(children)
    except Stopped:
        print("Stopped.")
        return 0


def _stop(number: int, frame: FrameType | None) -> None:
    # Once is enough: while children are being ended, another Ctrl-C must not leave them behind.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise Stopped


def _migrate(settings: Settings) -> None:
    """Migrate the database, once it answers; engines in containers may have been started a moment ago."""
    give_up_at = clock.monotonic() + ENGINES_WITHIN
    with create_app(settings).app_context():
        while True:
            try:
                upgrade()
            except OperationalError:
                if clock.monotonic() > give_up_at:
                    where = urlsplit(str(settings.database_url)).netloc.rpartition("@")[2]
                    sys.exit(
                        f"PostgreSQL does not answer at {where}, which DATABASE_URL names in .env or the environment.\n"
                        "Start it; or name neither DATABASE_URL nor REDIS_URL, to have both started here."
                    )
                time.sleep(0.5)
            else:
                return


def _environment(settings: Settings) -> dict[str, str]:
    """What children need in order to find the engines that were started here."""
    return {
        **os.environ,
        "APP_ENV": settings.app_env,
        "DATABASE_URL": str(settings.database_url),
        "REDIS_URL": str(settings.redis_url),
        "DRAIN_SECONDS": "0",
    }


def _started(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # In a session of its own, so that Ctrl-C reaches only us and we stop things in order; with a wish that the kernel
    # keeps if we are killed (Linux), so that nothing goes on listening.
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    wrapping = [setpriv, "--pdeathsig=TERM"] if setpriv else []
    return subprocess.Popen([*wrapping, *command], env=environment, start_new_session=True)  # noqa: S603 - our own


def _watched(children: list[subprocess.Popen[bytes]], *, restart: Callable[[], subprocess.Popen[bytes]]) -> int:
    server, _ = children
    while True:
        if (status := server.poll()) is not None:
            return status
        if children[1].poll() is not None:
            print("The mailer ended; starting it again.", file=sys.stderr)
            time.sleep(MAILER_REST)
            children[1] = restart()
        time.sleep(0.2)


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    give_up_at = clock.monotonic() + STOP_WITHIN
    for child in children:
        try:
            child.wait(max(0.1, give_up_at - clock.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _announce(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    """Say where everything is, once it answers."""
    base = f"http://{listening.address(settings.http_host, settings.http_port)}"
    give_up_at = clock.monotonic() + START_WITHIN
    while not _answers(f"{base}/health/live"):
        if server.poll() is not None or clock.monotonic() > give_up_at:
            return
        time.sleep(0.05)
    inbox = f"{base}/dev/inbox" if settings.inbox_dir else "letters leave by SMTP_URL"
    print(
        f"""
The service is up (APP_ENV={settings.app_env}); Ctrl-C stops it.
  Swagger    {base}/api/swagger
  Dev inbox  {inbox}
  Data       {settings.data_dir.resolve()}
""",
        flush=True,
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own address
            return True
    except (urllib.error.URLError, OSError):
        return False
