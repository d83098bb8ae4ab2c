"""Request and response models of roles and permissions."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from auth_service.api.contract.operations import LARGEST_ID
from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.account import UserId
from auth_service.api.v1.schemas.fields import RequestModel
from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.models.permission import is_permission

ROLE_NAME = "^ROLE_[A-Z0-9_]{1,59}$"
LONGEST_DESCRIPTION = 500


def _permission(name: str) -> str:
    if not is_permission(name):
        message = "Send a built-in permission, or noun:verb with a noun that is not reserved."
        raise FieldInvalid(FieldReason.UNKNOWN_VALUE, message)
    return name


def _user_id(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,15}", value, re.ASCII) else value


RoleName = Annotated[str, Field(pattern=ROLE_NAME, max_length=64, examples=["ROLE_EDITOR"])]
Description = Annotated[str, Field(min_length=1, max_length=LONGEST_DESCRIPTION)]
PermissionName = Annotated[
    str,
    Field(pattern="^[a-z][a-z0-9_]{0,31}:[a-z][a-z0-9_]{0,31}$", examples=["films:edit"]),
    AfterValidator(_permission),
]
Permissions = Annotated[
    list[PermissionName],
    Field(max_length=1000, description="At most 100: built-in permissions (`GET /permissions`) or the portal's own."),
]


class RoleCreationRequest(RequestModel):
    """A new role."""

    name: RoleName
    description: Description | None = None
    permissions: Permissions = Field(default_factory=list)


class ChangeRoleRequest(RequestModel):
    """Changes of a role. A field that is absent or null keeps its value."""

    description: Description | None = None
    permissions: Annotated[Permissions | None, Field(description="Replaces all permissions of the role.")] = None


class RoleResponse(ResponseModel):
    """A role."""

    name: str
    description: str | None
    permissions: list[str]
    system: Annotated[bool, Field(description="Whether the service needs the role: it cannot be changed.")]


class RolesOfUserResponse(ResponseModel):
    """The roles of a user."""

    user_id: UserId
    roles: list[str]


class RolesAndPermissionsResponse(RolesOfUserResponse):
    """The roles of a user and the permissions of these roles."""

    permissions: list[str]


class PermissionResponse(ResponseModel):
    """A permission."""

    name: str
    description: str | None
    system: Annotated[bool, Field(description="Whether it is built in.")]


class RoleGrantRequest(RequestModel):
    """A user and a role, by the field names of the reference implementation; also as a query string."""

    user_id: Annotated[
        UserId,
        Field(description="The id of the user, as an integer or as a string."),
        BeforeValidator(_user_id),
    ]
    role_id: Annotated[RoleName, Field(description="The name of the role.")]


UserIdParameter = Annotated[
    str,
    Field(pattern="^[1-9][0-9]{0,15}$"),
    WithJsonSchema(
        {
            "type": "integer",
            "format": "int64",
            "minimum": 1,
            "maximum": LARGEST_ID,
            "description": "The id of the user.",
        }
    ),
]
"""A user id in a query string."""


class CheckPermissionsQuery(RequestModel):
    """The user, and the permission to check."""

    user_id: UserIdParameter
    permission: Annotated[str | None, Field(min_length=3, max_length=65)] = None


class CheckPermissionsResponse(RolesOfUserResponse):
    """The roles of a user, and whether the user has the permission."""

    leaves_out_none = True

    allowed: Annotated[bool | None, Field(description="Only if `permission` was sent.")] = None


class CreateServiceRoleRequest(RequestModel):
    """A new role, by the field names of the reference implementation."""

    role_name: RoleName
    description: Description | None = None


class CreatedServiceRoleResponse(ResponseModel):
    """A new role, by the field names of the reference implementation."""

    role_id: str
    name: str


class ServiceUserQuery(RequestModel):
    """The id of the user."""

    user_id: UserIdParameter


class ServiceUserResponse(ResponseModel):
    """A user, for other services."""

    id: UserId
    email: str
    roles: list[str]
    verified_mail: bool
    registered_on: datetime
