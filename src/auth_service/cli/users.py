"""`manage.py users`: people, many at once."""

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
    """People."""


@users.command("import")
@click.argument("file", type=click.File("rb"))
@with_appcontext
def import_people(*, file: BinaryIO) -> None:
    """Bring people along from another system: FILE, or - for standard input, has one JSON object a line.

    Its names are `email`, `verified`, and if there are any `password_hash` and `language`. Lines that do not fit are
    named on standard error and left out, and the command fails; run again, it does only what is left to do.
    """
    services: Services = current_app.extensions["auth_service"]
    refused: list[int] = []
    read_so_far = imported = unverified = 0
    people = _people(file, refused)
    try:
        while batch := list(islice(people, BATCH)):
            with unit_of_work():
                made = services.imports.import_users(batch)
            imported += made
            read_so_far += len(batch)
            unverified += _unverified(batch)
    except Unavailable as away:
        raise click.ClickException(
            f"{away.code} after {imported} imported users; run the command again to import the others"
        ) from None
    there = read_so_far - unverified - imported
    print(f"imported {imported}, already there {there}, not verified {unverified}, refused {len(refused)}")
    if refused:
        raise SystemExit(1)


def _people(file: BinaryIO, refused: list[int]) -> Iterator[ImportedUser]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            yield read(line)
        except LineRejected as why:
            click.echo(f"line {number} {why}", err=True)
            refused.append(number)


def _unverified(people: Sequence[ImportedUser]) -> int:
    return sum(not user.verified for user in people)
