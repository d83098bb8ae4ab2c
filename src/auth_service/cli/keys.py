"""`manage.py keys`: the keys that sign access tokens."""

import time
from datetime import timedelta

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.db import unit_of_work
from auth_service.services.tokens.signing_keys import LOCAL_PUBLICATION_TIME, PUBLICATION_TIME, KeyTooYoung, SigningKeys
from auth_service.wiring import Services


@click.group()
def keys() -> None:
    """Keys that sign access tokens."""


@keys.command()
@click.option("--now", is_flag=True, help="Do not wait until other services know the next key, only until ours do.")
@with_appcontext
def rotate(*, now: bool) -> None:
    """Let the next key sign from now on; tokens that are about stay good, and nothing has to be restarted."""
    try:
        kid = _rotated(LOCAL_PUBLICATION_TIME if now else PUBLICATION_TIME, patient=now)
    except KeyTooYoung as too_young:
        raise click.ClickException(f"{too_young}; --now does not wait for services that keep the key set") from None
    print(f"{kid} signs now")


def _rotated(published_for: timedelta, *, patient: bool) -> str:
    while True:
        try:
            with unit_of_work():
                return _keyring().rotate(published_for=published_for)
        except KeyTooYoung as too_young:
            if not patient:
                raise
            time.sleep(too_young.wait.total_seconds())


@keys.command()
@click.option("--distrust", is_flag=True, help="Forget the keys there were: every access token is refused from now on.")
@with_appcontext
def replace(*, distrust: bool) -> None:
    """Make new keys, for another KEYRING_KEY than they were sealed with, or after a leak."""
    with unit_of_work():
        kid = _keyring().replace(distrust=distrust)
    print(f"{kid} signs now")


@keys.command("list")
@with_appcontext
def list_keys() -> None:
    """List the keys: which signs, which comes next, and until when the others verify."""
    for key in _keyring().all():
        until = f", verifies until {key.retire_at:%Y-%m-%d %H:%M:%S} UTC" if key.retire_at else ""
        print(f"{key.kid}  {key.state:<8}  made {key.created_at:%Y-%m-%d %H:%M:%S} UTC{until}")


def _keyring() -> SigningKeys:
    services: Services = current_app.extensions["auth_service"]
    return services.signing_keys
