"""What `manage.py` offers: Flask's command line over create_app, plus the processes of the service."""

import atexit
import sys
from contextlib import ExitStack
from importlib import import_module

import click
from flask import Flask
from flask.cli import FlaskGroup

from auth_service.cli.settings import read_settings
from auth_service.settings import SettingsRefused

COMMANDS = {
    "api": "auth_service.cli.api",
    "db": "flask_migrate.cli",
    "docs": "auth_service.cli.docs",
    "keys": "auth_service.cli.keys",
    "mail": "auth_service.cli.mail",
    "maintenance": "auth_service.cli.maintenance",
    "service-keys": "auth_service.cli.service_keys",
    "users": "auth_service.cli.users",
}
"""Where each command is, a function of its own name. Imported when it is run: in production `api` becomes gunicorn,
which imports the service again, so that having imported it before would be half of a cold start."""


def app_for_commands() -> Flask:
    """The application for one command, with engines that live as long as the command if none are named or running."""
    from auth_service.app import create_app  # noqa: PLC0415 - see COMMANDS
    from auth_service.cli.engines import with_engines  # noqa: PLC0415

    engines = ExitStack()
    atexit.register(engines.close)
    return create_app(engines.enter_context(with_engines(read_settings())))


class Commands(FlaskGroup):
    """Flask's command line, which lists its commands without starting anything."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands; Flask would make the application to ask it for more, and here that starts engines."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[name]), name.replace("-", "_"))
        return command


def main() -> None:
    """Run the command that the arguments name; a refused setting is a sentence, not a traceback."""
    # `.env` is read by the settings themselves, which refuse what they do not know.
    commands = Commands(create_app=app_for_commands, add_default_commands=False, load_dotenv=False)
    try:
        commands.main()
    except SettingsRefused as refused:
        sys.exit(f"The settings do not make a service:\n{refused}")
