"""Settings of `manage.py` commands: the environment and the `.env` of the working directory."""

import sys
from pathlib import Path

from auth_service.settings import Settings, env_file

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
