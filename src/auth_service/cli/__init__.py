"""Command line (`manage.py`): one module for each command, on top of Flask's command line."""

import atexit
import sys
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import click
from flask import Flask
from flask.cli import FlaskGroup

from auth_service.cli.settings import explained, read_settings
from auth_service.settings import Settings, SettingsRefused

COMMANDS = {
    "api": "auth_service.cli.api",
    "audit": "auth_service.cli.audit",
    "create-superuser": "auth_service.cli.create_superuser",
    "db": "flask_migrate.cli",
    "docs": "auth_service.cli.docs",
    "doctor": "auth_service.cli.doctor",
    "invitations": "auth_service.cli.invitations",
    "keys": "auth_service.cli.keys",
    "mail": "auth_service.cli.mail",
    "maintenance": "auth_service.cli.maintenance",
    "roles": "auth_service.cli.roles",
    "service-keys": "auth_service.cli.service_keys",
    "sessions": "auth_service.cli.sessions",
    "users": "auth_service.cli.users",
}
"""The module of each command; the command is a function of the same name. A module is imported when its command
runs: in production `api` becomes gunicorn, which imports the service again, so an earlier import would double the
time of the start."""


def app_for_commands() -> Flask:
    """Create the application for one command, with embedded engines if none are configured."""
    from auth_service.app import create_app  # noqa: PLC0415 - see COMMANDS
    from auth_service.cli.engines import with_engines  # noqa: PLC0415

    engines = ExitStack()
    atexit.register(engines.close)
    try:
        return create_app(engines.enter_context(with_engines(read_settings())))
    except SettingsRefused as error:  # also handled here, because the `flask` command does not run `main`
        reason = f"The settings are invalid:\n{error}"
    except RuntimeError as error:
        if type(error).__name__ != "EngineError":  # its module is missing in production
            raise
        reason = str(error)
    raise SystemExit(reason)


class Commands(FlaskGroup):
    """Flask's command line, which lists the commands without creating the application."""

    _settings: Settings | None = None

    def __init__(self) -> None:
        # Flask does not load `.env`: the settings read it themselves and reject unknown names.
        super().__init__(
            create_app=self.create, add_default_commands=False, add_version_option=False, load_dotenv=False
        )
        # Without the options of Flask that choose an application: there is only one.
        self.params = [option for option in self.params if option.name not in ("env_file", "app", "debug")]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the commands before the options."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print one line instead of a traceback if a dependency fails."""
        with explained(lambda: self._settings):
            return super().invoke(ctx)

    def create(self) -> Flask:
        """Create the application of a command, and remember its settings for `explained`."""
        app = app_for_commands()
        self._settings = app.extensions["auth_service"].settings
        return app

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands. Flask would create the application to find more, and so start engines."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command; None if there is no such command."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[name]), name.replace("-", "_"))
        return command


def main() -> None:
    """Run the command that the arguments name; print a message instead of a traceback if a setting is invalid."""
    try:
        Commands().main()
    except SettingsRefused as error:
        refused = str(error)
    else:
        return
    sys.exit(f"The settings are invalid:\n{refused}")
