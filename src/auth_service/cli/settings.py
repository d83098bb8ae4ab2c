"""Settings of `manage.py` commands (the environment and `.env`), and error messages about their dependencies."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from auth_service.errors import Unavailable
from auth_service.settings import Settings, env_file

log = logging.getLogger(__name__)

ENV_FILE = Path(".env")


def read_settings() -> Settings:
    """Read the settings. Raises SettingsRefused.

    Prints a warning if the `.env` is for production and ignored, and for misspelt names in the environment.
    """
    if env_file.applicable(ENV_FILE) is None:
        requested, profile = env_file.requested_profile(), env_file.profile_of(ENV_FILE)
        print(f"APP_ENV={requested}: the .env here is for APP_ENV={profile} and is not used.", file=sys.stderr)
    settings = Settings.read(env_file=ENV_FILE)
    for line in Settings.misspelt_in_environment():
        print(line, file=sys.stderr)
    return settings


@contextmanager
def explained(settings: Callable[[], Settings | None]) -> Iterator[None]:
    """Turn an error of PostgreSQL, Redis or an embedded engine into a ClickException with the reason in words."""
    try:
        yield
    except Exception as error:
        from auth_service.wiring.diagnosis import explain  # noqa: PLC0415 - `api` becomes gunicorn, which imports it

        used = settings()
        problem = explain(used, error) if used else None
        if problem is None and not isinstance(error, Unavailable) and type(error).__name__ != "EngineError":
            raise
        log.debug("the command failed", exc_info=True)
        text = problem.text if problem else str(error)
    else:
        return
    raise click.ClickException(text)
