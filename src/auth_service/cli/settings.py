"""Where commands take their settings from."""

import sys
from pathlib import Path

from auth_service.settings import Settings, env_file

ENV_FILE = Path(".env")


def read_settings() -> Settings:
    """Read the settings, and say so where the `.env` here is left alone. Raises SettingsRefused."""
    if env_file.in_force(ENV_FILE) is None:
        asked, written = env_file.profile_asked_for(), env_file.profile_of(ENV_FILE)
        print(f"APP_ENV={asked}: the .env here is for APP_ENV={written} and is not used.", file=sys.stderr)
    return Settings.read(env_file=ENV_FILE)
