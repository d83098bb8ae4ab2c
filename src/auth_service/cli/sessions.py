"""`manage.py sessions`: revokes the sessions of all users."""

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.errors import Unavailable
from auth_service.services.sessions.mass_revocation import revoke_all_sessions
from auth_service.wiring import Services
from auth_service.wiring.diagnosis import unavailable


@click.group()
def sessions() -> None:
    """Revoke sessions."""


@sessions.command("revoke-all")
@click.option("--yes", is_flag=True, help="Confirm that every user has to sign in again.")
@with_appcontext
def revoke_all(*, yes: bool) -> None:
    """Revoke every session of every user, after a leak or a takeover of many accounts.

    This service and introspection reject the sessions immediately. Services that verify tokens locally accept issued
    access tokens until they expire, unless `keys replace --distrust` makes them invalid. Each session gets an audit
    event; no email is sent. The command is idempotent.
    """
    if not yes:
        raise click.ClickException("this signs out every user; confirm it with --yes")
    services: Services = current_app.extensions["auth_service"]
    revoked, users = 0, set[int]()
    try:
        for batch in revoke_all_sessions():
            revoked += len(batch)
            users.update(user_id for _, user_id in batch)
    except Unavailable as error:
        raise click.ClickException(
            f"{unavailable(services.settings, error)}; revoked {revoked} sessions before that;"
            " run the command again to revoke the others"
        ) from None
    print(f"revoked {revoked} sessions of {len(users)} users")
