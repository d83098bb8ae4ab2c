"""`manage.py service-keys`: creates, lists and revokes the keys with which other services authenticate."""

from datetime import timedelta

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.db import unit_of_work
from auth_service.invisible_characters import trimmed
from auth_service.models.service_key import SCOPES
from auth_service.services.tokens.service_keys import LONGEST_LIFE, KeyRefused, ServiceKeys
from auth_service.wiring import Services


@click.group("service-keys")
def service_keys() -> None:
    """Manage the keys with which other services authenticate."""


@service_keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help=f"{', '.join(SCOPES)}, or a permission such as roles:read; may be repeated.",
)
@click.option(
    "--days", type=click.IntRange(1, LONGEST_LIFE.days), default=90, show_default=True, help="Lifetime in days."
)
@with_appcontext
def create(*, name: str, scopes: tuple[str, ...], days: int) -> None:
    """Create a key for the service NAME and print it. It is shown only once.

    A name may have two active keys: create the new one, deploy it in the service, then revoke the old one.
    """
    try:
        with unit_of_work():
            key = _keys().create(name=trimmed(name), scopes=scopes, ttl=timedelta(days=days))
    except KeyRefused as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{key.id} is valid until {key.expires_at:%Y-%m-%d %H:%M:%S} UTC", err=True)
    print(key.value)


@service_keys.command("list")
@with_appcontext
def list_keys() -> None:
    """List all keys, without their secrets."""
    for key in _keys().all():
        if key.live:
            state = f"until {key.expires_at:%Y-%m-%d}"
        else:
            state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else f"expired {key.expires_at:%Y-%m-%d}"
        used = f"used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never used"
        print(f"{key.id}  {key.name}  {','.join(key.scopes)}  {state}  {used}")


@service_keys.command()
@click.argument("key_id")
@with_appcontext
def revoke(*, key_id: str) -> None:
    """Revoke the key with the id KEY_ID; the next request with it is rejected."""
    key_id = trimmed(key_id)
    with unit_of_work():
        revoked = _keys().revoke(key_id)
    if not revoked:
        raise click.ClickException("there is no live key with this id")
    print(f"{key_id} is revoked")


def _keys() -> ServiceKeys:
    services: Services = current_app.extensions["auth_service"]
    return services.service_keys
