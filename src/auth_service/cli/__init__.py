"""What `manage.py` offers: Flask's command line over create_app, plus the processes of the service."""

import atexit
import sys
from contextlib import ExitStack

import click
from flask import Flask
from flask.cli import FlaskGroup
from flask_migrate.cli import db

from auth_service.app import create_app
from auth_service.cli.api import api
from auth_service.cli.docs import docs
from auth_service.cli.engines import with_engines
from auth_service.cli.keys import keys
from auth_service.cli.mail import mail
from auth_service.cli.maintenance import maintenance
from auth_service.cli.service_keys import service_keys
from auth_service.cli.settings import read_settings
from auth_service.settings import SettingsRefused


def app_for_commands() -> Flask:
    """The application for one command, with engines that live as long as the command if none are named or running."""
    engines = ExitStack()
    atexit.register(engines.close)
    return create_app(engines.enter_context(with_engines(read_settings())))


class Commands(FlaskGroup):
    """Flask's command line, which lists its commands without starting anything."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands; Flask would make the application to ask it for more, and here that starts engines."""
        return sorted(self.commands)


def main() -> None:
    """Run the command that the arguments name; a refused setting is a sentence, not a traceback."""
    # `.env` is read by the settings themselves, which refuse what they do not know.
    commands = Commands(create_app=app_for_commands, add_default_commands=False, load_dotenv=False)
    for command in (api, db, docs, keys, mail, maintenance, service_keys):
        commands.add_command(command)
    try:
        commands.main()
    except SettingsRefused as refused:
        sys.exit(f"The settings do not make a service:\n{refused}")
