"""`manage.py maintenance`: what has to be done every day, safe to run at any time and more than once."""

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.models import unit_of_work
from auth_service.wiring import Services


@click.command()
@with_appcontext
def maintenance() -> None:
    """Remove users who never confirmed their address, and the records of letters that ended long ago."""
    services: Services = current_app.extensions["auth_service"]
    settings = services.settings
    with unit_of_work():
        users = services.users.forget_temporary(older_than=settings.temporary_user_lifetime_seconds)
        letters = services.outbox.forget_ended(older_than=settings.letter_lifetime_seconds)
    print(f"removed {users} temporary users and {letters} records of letters")
