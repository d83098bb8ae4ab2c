"""`manage.py users import`: imports users from another system."""

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.db import unit_of_work
from auth_service.errors import Unavailable
from auth_service.services.users.import_users import BATCH, ImportedUser, LineRejected, read
from auth_service.wiring import Services


@click.group()
def users() -> None:
    """Manage users."""


@users.command("import")
@click.argument("file", type=click.File("rb"))
@with_appcontext
def import_users(*, file: BinaryIO) -> None:
    """Import users from another system. FILE (- for standard input) has one JSON object per line.

    Members: `email`, `verified`, and optionally `password_hash` and `language`. Invalid lines are reported on standard
    error and skipped, and the command exits with status 1. The import is idempotent: correct the lines and run it
    again.
    """
    services: Services = current_app.extensions["auth_service"]
    rejected: list[int] = []
    processed = imported = unverified = 0
    lines = _parse_lines(file, rejected)
    try:
        while batch := list(islice(lines, BATCH)):
            with unit_of_work():
                imported += services.user_import.import_users(batch)
            processed += len(batch)
            unverified += _unverified(batch)
    except Unavailable as error:
        raise click.ClickException(
            f"{error.code} after {imported} imported users; run the command again to import the others"
        ) from None
    existing = processed - unverified - imported
    print(f"imported {imported}, already there {existing}, not verified {unverified}, refused {len(rejected)}")
    if rejected:
        raise SystemExit(1)


def _parse_lines(file: BinaryIO, rejected: list[int]) -> Iterator[ImportedUser]:
    for number, raw in enumerate(file, start=1):
        # Programs on Windows begin a file in UTF-8 with a byte order mark, which no editor shows.
        line = raw.removeprefix(BOM_UTF8) if number == 1 else raw
        if not line.strip():
            continue
        try:
            yield read(line)
        except LineRejected as error:
            click.echo(f"line {number} {error}", err=True)
            rejected.append(number)


def _unverified(batch: Sequence[ImportedUser]) -> int:
    return sum(not user.verified for user in batch)
