"""`manage.py users`: imports users from another system, shows one, grants and revokes roles, bans and unbans."""

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any, BinaryIO

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.cli.roles import address_of, explained_errors
from auth_service.db import unit_of_work
from auth_service.errors import Unavailable
from auth_service.errors.fields import FieldInvalid
from auth_service.services.audit.events import COMMAND_LINE
from auth_service.services.authorization import reasons
from auth_service.services.authorization.roles import Roles
from auth_service.services.caller import SYSTEM
from auth_service.services.flows.user_administration import UserAdministration
from auth_service.services.users.import_users import BATCH, ImportedUser, LineRejected, read
from auth_service.wiring import Services
from auth_service.wiring.diagnosis import unavailable


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
            f"{unavailable(services.settings, error)}; imported {imported} users before that;"
            " run the command again to import the others"
        ) from None
    existing = processed - unverified - imported
    print(f"imported {imported}, already there {existing}, not verified {unverified}, refused {len(rejected)}")
    if rejected:
        raise SystemExit(1)


@users.command()
@click.argument("email")
@with_appcontext
def show(*, email: str) -> None:
    """Show the user EMAIL, as administrators see it: one member and its value a line."""
    services: Services = current_app.extensions["auth_service"]
    with explained_errors():
        user = services.user_search.details(_user_id(email))
    for name, value in flattened(asdict(user)):
        print(f"{name}: {value}")


def flattened(members: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The members of an object and of the objects in it, with dotted names and readable values."""
    for name, value in members.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _readable(value)


def _readable(value: Any) -> str:
    if value is None or value in ((), []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)


@users.command()
@click.argument("email")
@click.argument("role")
@with_appcontext
def grant(*, email: str, role: str) -> None:
    """Grant the role ROLE to the user EMAIL."""
    with explained_errors(), unit_of_work():
        _roles().grant(_user_id(email), role, caller=SYSTEM, client=COMMAND_LINE)
    print(f"{email} has {role}")


@users.command()
@click.argument("email")
@click.argument("role")
@click.option("--leave-none", is_flag=True, help="Also revoke ROLE_PORTAL_ADMIN from the last administrator.")
@with_appcontext
def withdraw(*, email: str, role: str, leave_none: bool) -> None:
    """Revoke the role ROLE from the user EMAIL."""
    with explained_errors(), unit_of_work():
        _roles().revoke(_user_id(email), role, caller=SYSTEM, client=COMMAND_LINE, leave_none=leave_none)
    print(f"{email} does not have {role}")


@users.command()
@click.argument("email")
@click.option("--until", metavar="TIME", help="The end of the ban, such as 2099-01-31T12:00Z; without it, no end.")
@click.option("--reason", default="By the operator of the service", show_default=True, help="The user can read it.")
@with_appcontext
def ban(*, email: str, until: str | None, reason: str) -> None:
    """Ban the user EMAIL and revoke all sessions."""
    try:
        parsed = reasons.parse(reason)
    except FieldInvalid as error:
        raise click.ClickException(f"--reason: {error}") from None
    with explained_errors(), unit_of_work():
        _administration().ban(_user_id(email), reason=parsed, until=_instant(until), caller=SYSTEM, client=COMMAND_LINE)
    print(f"{email} is banned")


@users.command()
@click.argument("email")
@with_appcontext
def unban(*, email: str) -> None:
    """Lift the ban of the user EMAIL, who has to sign in again."""
    with explained_errors(), unit_of_work():
        _administration().unban(_user_id(email), caller=SYSTEM, client=COMMAND_LINE)
    print(f"{email} is not banned")


@users.command("reset-second-factor")
@click.argument("email")
@with_appcontext
def reset_second_factor(*, email: str) -> None:
    """Remove the second factors of the user EMAIL, who has lost them, and revoke all sessions."""
    services: Services = current_app.extensions["auth_service"]
    with explained_errors(), unit_of_work():
        services.second_factor_reset.by_operator(_user_id(email))
    print(f"{email} has no second factor")


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    with suppress(ValueError):
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant
    raise click.ClickException("--until: must be a time with its UTC offset, such as 2099-01-31T12:00Z")


def _administration() -> UserAdministration:
    services: Services = current_app.extensions["auth_service"]
    return services.user_administration


def _roles() -> Roles:
    services: Services = current_app.extensions["auth_service"]
    return services.roles


def _user_id(email: str) -> int:
    services: Services = current_app.extensions["auth_service"]
    return services.users.look_up(email=address_of(email)).id


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
