"""`manage.py invitations`: invites people by email, lists and revokes invitations."""

import uuid

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.cli.roles import address_of, check_role_name, explained_errors
from auth_service.db import unit_of_work
from auth_service.invisible_characters import trimmed
from auth_service.models.invitation import InvitationState
from auth_service.services.audit.events import COMMAND_LINE
from auth_service.services.caller import SYSTEM
from auth_service.services.email.rendering import LANGUAGES
from auth_service.services.flows.invitations.invitations import Invitations
from auth_service.wiring import Services

PAGE_SIZE = 500


@click.group()
def invitations() -> None:
    """Manage invitations."""


@invitations.command()
@click.argument("email")
@click.option("--role", "roles", multiple=True, help="A role that the person gets; may be repeated.")
@click.option("--language", type=click.Choice(LANGUAGES), default=LANGUAGES[0], show_default=True)
@with_appcontext
def create(*, email: str, roles: tuple[str, ...], language: str) -> None:
    """Invite the person with the address EMAIL. The link is in the email only."""
    for role in roles:
        check_role_name(role)
    with explained_errors(), unit_of_work():
        invitation = _invitations().create(
            email=address_of(email), roles=roles, language=language, caller=SYSTEM, client=COMMAND_LINE
        )
    print(f"{invitation.id} is valid until {invitation.expires_at:%Y-%m-%d %H:%M} UTC")


@invitations.command("list")
@click.option("--state", type=click.Choice([state.value for state in InvitationState]), help="Only this state.")
@with_appcontext
def list_invitations(*, state: str | None) -> None:
    """List the invitations, the newest first."""
    cursor = None
    while True:
        page = _invitations().page(caller=SYSTEM, state=state, cursor=cursor, limit=PAGE_SIZE)
        for each in page.items:
            until = f"until {each.expires_at:%Y-%m-%d %H:%M} UTC"
            print(f"{each.id}  {each.state}  {each.email}  {','.join(each.roles) or '-'}  {until}  {each.invited_by}")
        cursor = page.next_cursor
        if cursor is None:
            break


@invitations.command()
@click.argument("invitation_id")
@with_appcontext
def revoke(*, invitation_id: str) -> None:
    """Revoke the invitation with the id INVITATION_ID; its link does not work any more."""
    try:
        parsed = uuid.UUID(trimmed(invitation_id))
    except ValueError:
        raise click.ClickException("this is no id; `manage.py invitations list` shows the ids") from None
    with explained_errors(), unit_of_work():
        _invitations().revoke(parsed, caller=SYSTEM, client=COMMAND_LINE)
    print(f"{parsed} is revoked")


def _invitations() -> Invitations:
    services: Services = current_app.extensions["auth_service"]
    return services.invitations
