"""Supervisor of `make run`: starts and stops engines, migrations, API and mail worker together."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from types import FrameType
from urllib.parse import urlsplit

from flask_migrate import upgrade
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError

from auth_service import clock
from auth_service.adapters import listening
from auth_service.adapters.postgres import diagnosis as postgres
from auth_service.adapters.postgres.connections import maintenance_engine
from auth_service.adapters.redis import diagnosis as redis
from auth_service.adapters.redis.inspection import inspect
from auth_service.app import create_app
from auth_service.settings import Settings

STOP_WITHIN = 20.0
"""Seconds in which the children have to stop; then they are killed."""
START_WITHIN = 60.0
"""Seconds in which the API has to answer, or its addresses are not printed."""
ENGINES_WITHIN = 10.0
"""Seconds to wait for configured engines that are starting."""
MAIL_WORKER_RESTART_AFTER = 2.0
"""Seconds before a mail worker that has ended is started again."""


class Stopped(BaseException):
    """A stop signal arrived. Not an Exception: it is raised anywhere, and code such as logging catches Exceptions."""


def supervise(
    settings: Settings,
    *,
    with_engines: Callable[..., AbstractContextManager[Settings]],
    gunicorn: Sequence[str],
    manage: Sequence[str],
) -> int:
    """Run everything until a signal arrives or the API ends; return the exit status.

    `with_engines` completes the settings and keeps the engines running. `gunicorn` and `manage` are command lines.
    Prints one line for each step, so that the progress is visible on a slow machine.
    """
    if listening.is_taken(settings.http_host, settings.http_port):
        print(f"Something else listens on port {settings.http_port}; set HTTP_PORT to another one.", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        with with_engines(settings, progress=step) as complete:
            if settings.names_engines:
                _wait_for_engines(complete)
            _migrate(complete)
            environment = _environment(complete)
            children = [_start(gunicorn, environment)]
            try:
                _announce(complete, children[0])
                children.append(_start([*manage, "mail", "deliver"], environment))
                return _watch(children, restart=lambda: _start([*manage, "mail", "deliver"], environment))
            finally:
                _stop_children(children)
    except Stopped:
        print("Stopped.")
        return 0


def _stop(number: int, frame: FrameType | None) -> None:
    # Further signals are ignored: a second Ctrl-C while children are being stopped must not leave them running.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise Stopped


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Print a line for a step: its name when it begins, its result and duration when it has ended."""
    print(f"{name:<11} … ", end="", flush=True)
    began = clock.monotonic()
    results = ["stopped"]
    try:
        yield results.append
    except BaseException:
        print(flush=True)  # the reason follows on a line of its own
        raise
    print(f"{results[-1]} ({clock.monotonic() - began:.1f} s)", flush=True)


def _wait_for_engines(settings: Settings, *, within: float = ENGINES_WITHIN) -> None:
    """Wait until the configured engines answer, because engines in containers may still be starting."""
    deadline = clock.monotonic() + within
    for name, find_problem, url in (
        ("PostgreSQL", _database_problem, str(settings.migration_database_url or settings.database_url)),
        ("Redis", _redis_problem, str(settings.redis_url)),
    ):
        with step(name) as done:
            while (problem := find_problem(url)) is not None:
                if problem.permanent or clock.monotonic() > deadline:
                    setting = "DATABASE_URL" if name == "PostgreSQL" else "REDIS_URL"
                    sys.exit(
                        f"{setting}: {problem.text}\n"
                        "Correct it, or remove DATABASE_URL and REDIS_URL to run embedded engines."
                    )
                time.sleep(0.5)
            done(urlsplit(url).netloc.rpartition("@")[2] or "local socket")


def _database_problem(url: str) -> postgres.Diagnosis | None:
    try:
        with maintenance_engine(url) as engine, engine.connect():
            return None
    except OperationalError as error:
        return postgres.diagnose(error.orig, url=url)


def _redis_problem(url: str) -> redis.Diagnosis | None:
    try:
        inspect(url)
    except RedisError as error:
        return redis.diagnose(error, url=url)
    return None


def _migrate(settings: Settings) -> None:
    with step("Migrations") as done:
        printed = io.StringIO()
        with create_app(settings).app_context(), redirect_stdout(printed):
            upgrade()
        done((printed.getvalue().splitlines() or ["done"])[-1].rstrip("."))


def _environment(settings: Settings) -> dict[str, str]:
    """The environment of the children, with the URLs of the engines."""
    return {
        **os.environ,
        "APP_ENV": settings.app_env,
        "DATABASE_URL": str(settings.database_url),
        "REDIS_URL": str(settings.redis_url),
        "DRAIN_SECONDS": "0",
    }


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # A session of its own, so that Ctrl-C reaches only the supervisor, which stops the children in order. On Linux the
    # kernel ends the child if the supervisor is killed, so that no process keeps the port.
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    wrapping = [setpriv, "--pdeathsig=TERM"] if setpriv else []
    return subprocess.Popen([*wrapping, *command], env=environment, start_new_session=True)  # noqa: S603 - no external input


def _watch(children: list[subprocess.Popen[bytes]], *, restart: Callable[[], subprocess.Popen[bytes]]) -> int:
    server = children[0]
    while True:
        if (status := server.poll()) is not None:
            return status
        if children[1].poll() is not None:
            print("The mail worker has ended; it is started again.", file=sys.stderr)
            time.sleep(MAIL_WORKER_RESTART_AFTER)
            children[1] = restart()
        time.sleep(0.2)


def _stop_children(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    deadline = clock.monotonic() + STOP_WITHIN
    for child in children:
        try:
            child.wait(max(0.1, deadline - clock.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _announce(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    """Print the addresses as soon as the API answers."""
    base = f"http://{listening.address(settings.http_host, settings.http_port)}"
    deadline = clock.monotonic() + START_WITHIN
    with step("API") as done:
        while not _answers(f"{base}/health/live"):
            if server.poll() is not None or clock.monotonic() > deadline:
                return
            time.sleep(0.05)
        done(base)
    inbox = f"{base}/dev/inbox" if settings.inbox_dir else "none; emails are sent to SMTP_URL"
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
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - a fixed scheme and host
            return True
    except (urllib.error.URLError, OSError):
        return False
