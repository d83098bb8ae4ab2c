"""`manage.py create-superuser`: creates an administrator, or makes an existing user an administrator."""

import sys

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.cli.roles import address_of
from auth_service.db import unit_of_work
from auth_service.errors import ValidationFailed
from auth_service.services.email.addresses import Address
from auth_service.services.flows.superuser import Superusers
from auth_service.wiring import Services


@click.command("create-superuser")
@click.argument("email")
@click.argument("surplus", nargs=-1)
@click.option("--password-stdin", is_flag=True, help="Read the password of a new user from standard input.")
@with_appcontext
def create_superuser(*, email: str, surplus: tuple[str, ...], password_stdin: bool) -> None:
    """Create the user EMAIL as an administrator, or make an existing user administrator.

    The command asks for the password of a new user; a user without one signs in with an emailed code. An existing user
    keeps the password.
    """
    if surplus:
        raise click.UsageError(
            "the password is no argument, because other users of this machine can read arguments; "
            "enter it when asked, or use --password-stdin"
        )
    services: Services = current_app.extensions["auth_service"]
    address = address_of(email)
    exists = services.superusers.exists(address)
    password_hash = None if exists else _new_password_hash(services.superusers, address, from_stdin=password_stdin)
    with unit_of_work():
        user_id = services.superusers.promote(address, password_hash=password_hash)
    print(f"{address.stored} (id {user_id}) is an administrator")


def _new_password_hash(superusers: Superusers, address: Address, *, from_stdin: bool) -> str | None:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt(
            "Password (empty: sign in with an emailed code)",
            hide_input=True,
            confirmation_prompt=True,
            default="",
            show_default=False,
        )
    else:
        password = ""
    if not password:
        return None
    try:
        return superusers.password_hash(password, email=address)
    except ValidationFailed as error:
        raise click.ClickException(f"the password is refused: {error.members['fields'][0]['msg']}") from None
