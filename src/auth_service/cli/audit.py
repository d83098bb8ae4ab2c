"""`manage.py audit`: exports the audit log, and verifies its seals."""

import sys
from datetime import UTC, datetime
from typing import TextIO

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.adapters.crypto.audit_seals import trusted_keys
from auth_service.db import unit_of_work
from auth_service.models.audit_event import FAILURE, SUCCESS, EventType
from auth_service.services.audit.events import COMMAND_LINE
from auth_service.services.audit.export import ExportFormat
from auth_service.services.audit.seals import AuditSealBroken
from auth_service.services.audit.search import USER, AuditFilters, Party
from auth_service.services.caller import SYSTEM
from auth_service.wiring import Services

FORMATS = {"csv": ExportFormat.CSV, "ndjson": ExportFormat.NDJSON}


def _party(_: click.Context, __: click.Parameter, value: str | None) -> Party | None:
    """Parse an actor or a target. Raises BadParameter."""
    if value is None:
        return None
    kind, _colon, identifier = value.partition(":")
    if not kind or not identifier or (kind == USER and not identifier.isdecimal()):
        raise click.BadParameter("this is a type and an id, such as user:4711 or role:ROLE_EDITOR")
    return Party(kind, identifier)


TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


@click.group()
def audit() -> None:
    """Read the audit log."""


@audit.command()
@click.option("--actor", callback=_party, help="Only events of this actor, such as user:4711.")
@click.option("--target", callback=_party, help="Only events about this target, such as role:ROLE_EDITOR.")
@click.option("--action", type=click.Choice([kind.value for kind in EventType]), help="Only events of this type.")
@click.option("--outcome", type=click.Choice([SUCCESS, FAILURE]), help="Only events with this outcome.")
@click.option("--from", "since", type=TIME, help="Only events at or after this time (UTC).")
@click.option("--to", "until", type=TIME, help="Only events before this time (UTC).")
@click.option("--format", "format_name", type=click.Choice(list(FORMATS)), default="csv", show_default=True)
@with_appcontext
def export(
    *,
    actor: Party | None,
    target: Party | None,
    action: str | None,
    outcome: str | None,
    since: datetime | None,
    until: datetime | None,
    format_name: str,
) -> None:
    """Write audit events to standard output, the newest first. The export is an audit event itself."""
    services: Services = current_app.extensions["auth_service"]
    filters = AuditFilters(
        actor=actor, target=target, action=action, outcome=outcome, since=_utc(since), until=_utc(until)
    )
    with unit_of_work():
        chunks = services.audit_export.export_all(
            filters, export_format=FORMATS[format_name], caller=SYSTEM, client=COMMAND_LINE
        )
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)


@audit.command()
@click.option(
    "--keys",
    type=click.File(),
    help="Keys that were kept outside of the service: a copy of /.well-known/jwks.json, or several merged into one.",
)
@with_appcontext
def verify(*, keys: TextIO | None) -> None:
    """Verify that the audit log matches its seals; name the first hour that does not."""
    services: Services = current_app.extensions["auth_service"]
    try:
        trusted = None if keys is None else trusted_keys(keys.read())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--keys") from None
    try:
        verified = services.audit_sealing.verify(trusted=trusted)
    except AuditSealBroken as broken:
        raise click.ClickException(str(broken)) from None
    print(f"{verified.hours} hours with {verified.events} events match their seals")
    if trusted is None:
        print("The seals were verified with the keys inside of them. Use --keys with keys that you kept outside.")
