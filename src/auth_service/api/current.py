"""What the application that answers this request is wired with."""

from flask import current_app

from auth_service.settings import Settings
from auth_service.wiring import Services


def services() -> Services:
    """Its services."""
    wired: Services = current_app.extensions["auth_service"]
    return wired


def settings() -> Settings:
    """Its settings."""
    return services().settings
