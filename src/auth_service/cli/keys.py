"""`manage.py keys`: the keys that sign access tokens."""

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.models import unit_of_work
from auth_service.wiring import Services


@click.group()
def keys() -> None:
    """Keys that sign access tokens."""


@keys.command()
@with_appcontext
def rotate() -> None:
    """Let the next key sign from now on; tokens that are about stay good, and nothing has to be restarted."""
    services: Services = current_app.extensions["auth_service"]
    with unit_of_work():
        kid = services.keyring.rotate()
    print(f"{kid} signs now")
