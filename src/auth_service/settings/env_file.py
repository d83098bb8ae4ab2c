"""Whether the `.env` that lies here is meant for the profile that is asked for."""

import os
from pathlib import Path

from dotenv import dotenv_values

DEVELOPERS = ("local", "test")
NAME = "APP_ENV"


def profile_of(env_file: Path) -> str:
    """The profile that a file of settings is for; production where it names none."""
    written = dotenv_values(env_file, interpolate=False)
    return next((value for name, value in written.items() if name.upper() == NAME and value), "production")


def profile_asked_for() -> str | None:
    """The profile that the environment names."""
    return next((value for name, value in os.environ.items() if name.upper() == NAME), None)


def in_force(env_file: Path | None, *, profile: str | None = None) -> Path | None:
    """The file, unless it is one of production (`make up` makes one) where a developer's profile is asked for.

    Its engines, keys and mail server are not for experiments. `profile` is what is asked for where the environment does
    not say.
    """
    if env_file is None or not env_file.exists():
        return env_file
    asked = profile or profile_asked_for()
    return None if asked in DEVELOPERS and profile_of(env_file) not in DEVELOPERS else env_file
