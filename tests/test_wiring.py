"""Dependency wiring: the services need complete settings."""

import pytest

from auth_service.settings import Settings
from auth_service.wiring import wire


def test_settings_have_to_be_complete() -> None:
    with pytest.raises(ValueError, match="completed"):
        wire(Settings.read(env_file=None, app_env="test"))
