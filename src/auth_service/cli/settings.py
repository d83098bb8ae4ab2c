"""Where commands take their settings from."""

import os
import sys
from pathlib import Path

from dotenv import dotenv_values

from auth_service.settings import Settings

ENV_FILE = Path(".env")


def read_settings() -> Settings:
    """Read the environment and `.env`. Raises SettingsRefused.

    When the environment asks for a developer's profile, a `.env` of production (`make up` makes one) is left alone:
    its engines are not for experiments.
    """
    asked = os.environ.get("APP_ENV")
    if asked in ("local", "test") and ENV_FILE.exists():
        written = dotenv_values(ENV_FILE, interpolate=False).get("APP_ENV", "production")
        if written not in ("local", "test"):
            print(f"APP_ENV={asked}: the .env here is for APP_ENV={written} and is not used.", file=sys.stderr)
            return Settings.read(env_file=None)
    return Settings.read(env_file=ENV_FILE)
