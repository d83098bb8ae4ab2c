"""`manage.py keys`: rotation, replacement and list of the signing keys; rotation of the key of TOTP secrets."""

import time
from datetime import timedelta

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.db import unit_of_work
from auth_service.services.tokens.signing_keys import LOCAL_PUBLICATION_TIME, PUBLICATION_TIME, KeyTooYoung, SigningKeys
from auth_service.wiring import Services

BATCH = 200


@click.group()
def keys() -> None:
    """Manage the signing keys of access tokens, and the encryption of TOTP secrets."""


@keys.command()
@click.option(
    "--now", is_flag=True, help="Wait only until this service knows the next key, not until other services do."
)
@with_appcontext
def rotate(*, now: bool) -> None:
    """Sign with the next key from now on. Issued tokens stay valid; no process has to be restarted."""
    try:
        kid = _rotate_when_known(LOCAL_PUBLICATION_TIME if now else PUBLICATION_TIME, wait=now)
    except KeyTooYoung as too_young:
        raise click.ClickException(f"{too_young}; --now does not wait for services that cache the key set") from None
    print(f"{kid} signs now")


def _rotate_when_known(published_for: timedelta, *, wait: bool) -> str:
    while True:
        try:
            with unit_of_work():
                return _signing_keys().rotate(published_for=published_for)
        except KeyTooYoung as too_young:
            if not wait:
                raise
            time.sleep(too_young.wait.total_seconds())


@keys.command()
@click.option("--distrust", is_flag=True, help="Delete the old keys: every issued access token becomes invalid.")
@with_appcontext
def replace(*, distrust: bool) -> None:
    """Generate new keys, after a change of KEYRING_KEY or after a leak."""
    with unit_of_work():
        kid = _signing_keys().replace(distrust=distrust)
    print(f"{kid} signs now")


@keys.command("list")
@with_appcontext
def list_keys() -> None:
    """List the keys: the current one, the next one, and until when retired ones verify tokens."""
    for key in _signing_keys().all():
        until = f", verifies until {key.retire_at:%Y-%m-%d %H:%M:%S} UTC" if key.retire_at else ""
        print(f"{key.kid}  {key.state:<8}  created {key.created_at:%Y-%m-%d %H:%M:%S} UTC{until}")


@keys.command()
@with_appcontext
def reseal() -> None:
    """Encrypt TOTP secrets with SECOND_FACTOR_KEY that SECOND_FACTOR_KEY_PREVIOUS has encrypted."""
    services: Services = current_app.extensions["auth_service"]
    resealed = broken = 0
    last: int | None = 0
    while last is not None:
        with unit_of_work():  # short ones: a sign-in waits for the row of its user
            batch = services.totp.reseal(after=last, at_most=BATCH)
        last, resealed, broken = batch.last, resealed + batch.resealed, broken + batch.broken
    print(f"{resealed} resealed, {broken} not readable with either key")
    if broken:
        raise SystemExit(1)


def _signing_keys() -> SigningKeys:
    services: Services = current_app.extensions["auth_service"]
    return services.signing_keys
