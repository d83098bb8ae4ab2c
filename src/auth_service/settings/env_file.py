"""Which `.env` applies: a file of production is ignored when the profile is `local` or `test`."""

import os
from pathlib import Path

from dotenv import dotenv_values

from auth_service.invisible_characters import without_zero_width

DEVELOPERS = ("local", "test")
NAME = "APP_ENV"


def profile_of(env_file: Path) -> str:
    """The profile that a `.env` names; production if it names none."""
    values = dotenv_values(env_file, interpolate=False)
    value = next((value for name, value in values.items() if name.upper() == NAME and value), "production")
    return without_zero_width(value)  # as the settings read it


def requested_profile() -> str | None:
    """The profile that the environment names."""
    return next((without_zero_width(value) for name, value in os.environ.items() if name.upper() == NAME), None)


def applicable(env_file: Path | None, *, profile: str | None = None) -> Path | None:
    """The file; None if it is for production (`make up` writes one) and a developer's profile is requested.

    A developer's commands must not reach the databases, keys and mail server of production. `profile` is the requested
    profile; without it, the environment decides.
    """
    if env_file is None or not env_file.exists():
        return env_file
    requested = profile or requested_profile()
    return None if requested in DEVELOPERS and profile_of(env_file) not in DEVELOPERS else env_file
