"""Services and settings of the current Flask application."""

from flask import current_app

from auth_service.settings import Settings
from auth_service.wiring import Services


def services() -> Services:
    """Return the services of the application that handles this request."""
    current: Services = current_app.extensions["auth_service"]
    return current


def settings() -> Settings:
    """Return the settings of the application that handles this request."""
    return services().settings
