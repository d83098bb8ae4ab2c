"""`manage.py roles`: lists and creates roles and their permissions, and grants them to users."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import current_app
from flask.cli import with_appcontext

from auth_service.db import unit_of_work
from auth_service.errors import ServiceError
from auth_service.models.permission import is_permission
from auth_service.models.role import ROLE_NAME
from auth_service.services.audit.events import COMMAND_LINE
from auth_service.services.authorization.roles import MAX_ROLES, Roles
from auth_service.services.caller import SYSTEM
from auth_service.services.email import addresses
from auth_service.services.email.addresses import Address
from auth_service.wiring import Services


@click.group()
def roles() -> None:
    """Manage roles and their permissions."""


@roles.command("list")
@with_appcontext
def list_roles() -> None:
    """List all roles with their permissions."""
    page = _services().roles.page(caller=SYSTEM, cursor=None, limit=MAX_ROLES)
    for role in page.items:
        print(f"{role.name}  {','.join(role.permissions) or '-'}  {role.description or ''}".rstrip())


@roles.command()
@click.argument("name")
@click.option("--description", help="The purpose of the role.")
@click.option("--permission", "permissions", multiple=True, help="A permission of the role; may be repeated.")
@with_appcontext
def create(*, name: str, description: str | None, permissions: tuple[str, ...]) -> None:
    """Create the role NAME, such as ROLE_EDITOR."""
    check_role_name(name)
    _check_permissions(permissions)
    with explained_errors(), unit_of_work():
        _services().roles.create(
            name, description=description, permissions=permissions, caller=SYSTEM, client=COMMAND_LINE
        )
    print(f"{name} is created")


@roles.command()
@click.argument("name")
@click.argument("permissions", nargs=-1, required=True)
@with_appcontext
def permit(*, name: str, permissions: tuple[str, ...]) -> None:
    """Add PERMISSIONS, such as films:edit, to the role NAME."""
    _check_permissions(permissions)
    service: Roles = _services().roles
    with explained_errors(), unit_of_work():
        role = service.by_name(name)
        service.change(
            name,
            description=None,
            permissions={*role.permissions, *permissions},
            caller=SYSTEM,
            client=COMMAND_LINE,
        )
    print(f"{name} has {','.join(sorted({*role.permissions, *permissions}))}")


def check_role_name(name: str) -> None:
    """Raise ClickException unless the text has the form of a role name."""
    if not ROLE_NAME.fullmatch(name):
        raise click.ClickException("a role name reads like ROLE_EDITOR: ROLE_ and capital letters, digits, underscores")


def _check_permissions(permissions: tuple[str, ...]) -> None:
    for permission in permissions:
        if not is_permission(permission):
            raise click.ClickException(
                f"{permission} is no permission: use a built-in one, or noun:verb with a noun that is not reserved"
            )


def address_of(email: str) -> Address:
    """Parse the email address in an argument. Raises ClickException."""
    try:
        return addresses.parse(email)
    except ValueError as error:
        raise click.ClickException(f"the email address is refused: {error}") from None


@contextmanager
def explained_errors() -> Iterator[None]:
    """Print the message of an error of the service instead of a traceback."""
    try:
        yield
    except ServiceError as error:
        raise click.ClickException(f"{error.code}: {error.message}") from None


def _services() -> Services:
    services: Services = current_app.extensions["auth_service"]
    return services
