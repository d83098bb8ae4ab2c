"""Role endpoints: list, create, change and delete roles, grant and revoke them, check the permissions of a user."""

from flask_restx import Resource

from auth_service.api.contract.contract import Contract, Variant
from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.http.parsing import ROLE_NAME
from auth_service.api.security.authentication import current_service, current_user
from auth_service.api.security.authorization import caller, own_or_permission, permission
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_READS, ADMIN_WRITES, RateLimitOfOthers
from auth_service.api.v1.schemas.pagination import PageQuery
from auth_service.api.v1.schemas.roles import (
    ChangeRoleRequest,
    CheckPermissionsQuery,
    CheckPermissionsResponse,
    PermissionResponse,
    RoleCreationRequest,
    RoleGrantRequest,
    RoleResponse,
    RolesAndPermissionsResponse,
    RolesOfUserResponse,
)
from auth_service.errors import (
    BeyondYourOwn,
    LastAdministrator,
    LimitReached,
    MailNotConfirmed,
    RoleInUse,
    RoleIsSystem,
    RoleTaken,
    RoleUnknown,
    UserUnknown,
)
from auth_service.models.permission import Permission
from auth_service.services.authorization.roles import PermissionCheck, PermissionInfo, check
from auth_service.services.authorization.statements import RoleRecord, UserPermissions, UserRoles
from auth_service.services.pagination import Page

roles = Namespace("roles", description="Roles, permissions, and the roles of users.")

GRANT_ERRORS = [UserUnknown, RoleUnknown, RoleIsSystem, BeyondYourOwn]


# Contracts and views that `service_roles.py` offers to services, too, under its own paths.


def list_roles(query: PageQuery) -> Page[RoleRecord]:
    """Return a page of the roles."""
    return services().roles.page(caller=caller(), cursor=query.cursor, limit=query.limit)


def delete_role(name: str) -> None:
    """Delete a role."""
    services().roles.delete(name, caller=caller(), client=client_info())


def check_permissions(query: CheckPermissionsQuery) -> PermissionCheck:
    """Check the permissions of a user; those of the current user are read with the session already."""
    user_id = int(query.user_id)
    if current_service() is None and current_user().id == user_id:
        return check(user_id, of=current_user(), permission=query.permission)
    return check(user_id, of=services().roles.of_user(user_id), permission=query.permission)


def grant_role(_: Resource, body: RoleGrantRequest) -> UserRoles:
    """Grant a role, as the reference implementation names the fields."""
    return services().roles.grant(body.user_id, body.role_id, caller=caller(), client=client_info())


def revoke_role(query: RoleGrantRequest) -> UserRoles:
    """Revoke a role, as the reference implementation names the parameters."""
    return services().roles.revoke(query.user_id, query.role_id, caller=caller(), client=client_info())


LIST = Contract(
    operation="list_roles",
    summary="List the roles",
    access=permission(Permission.ROLES_READ),
    query=PageQuery,
    items=RoleResponse,
    limits=[ADMIN_READS],
)
DELETE = Contract(
    operation="delete_role",
    summary="Delete a role that no user has",
    access=permission(Permission.ROLES_WRITE),
    done=True,
    limits=[ADMIN_WRITES],
    errors=[RoleUnknown, RoleIsSystem, RoleInUse, BeyondYourOwn],
)
CHECK = Contract(
    operation="check_permissions",
    summary="Return the roles of a user, and whether the user has a permission",
    access=own_or_permission(Permission.ROLES_READ, parameter="user_id"),
    query=CheckPermissionsQuery,
    data=CheckPermissionsResponse,
    limits=[RateLimitOfOthers(ADMIN_READS.name, ADMIN_READS.rate, "user_id")],
    errors=[UserUnknown],
)
GRANT = Contract(
    operation="grant_role_by_id",
    summary="Grant a role to a user",
    access=permission(Permission.ROLES_GRANT),
    body=RoleGrantRequest,
    data=RolesOfUserResponse,
    limits=[ADMIN_WRITES],
    errors=[*GRANT_ERRORS, MailNotConfirmed, LimitReached],
)
REVOKE = Contract(
    operation="revoke_role_by_id",
    summary="Revoke a role from a user",
    description="As `DELETE /users/{user_id}/roles/{name}`, for clients of the reference implementation.",
    access=permission(Permission.ROLES_GRANT),
    query=RoleGrantRequest,
    data=RolesOfUserResponse,
    limits=[ADMIN_WRITES],
    errors=[*GRANT_ERRORS, LastAdministrator],
)


@roles.route("/roles")
class Roles(Resource):
    """All roles."""

    @roles.under(LIST)
    def get(self, query: PageQuery) -> Page[RoleRecord]:
        return list_roles(query)

    @roles.contract(
        operation="create_role",
        summary="Create a role",
        description=(
            "A caller can give a role only permissions that the caller has. For clients of the reference "
            'implementation, the body `{"user_id", "role_id"}` instead grants a role, as '
            "`PUT /users/{user_id}/roles/{name}` does, with the permission `roles:grant`."
        ),
        variant=Variant(field="role_id", contract=GRANT, view=grant_role),
        access=permission(Permission.ROLES_WRITE),
        body=RoleCreationRequest,
        data=RoleResponse,
        status=201,
        limits=[ADMIN_WRITES],
        errors=[RoleTaken, LimitReached, BeyondYourOwn],
    )
    def post(self, body: RoleCreationRequest) -> RoleRecord:
        return services().roles.create(
            body.name,
            description=body.description,
            permissions=body.permissions,
            caller=caller(),
            client=client_info(),
        )

    @roles.under(REVOKE)
    def delete(self, query: RoleGrantRequest) -> UserRoles:
        return revoke_role(query)


@roles.route(f"/roles/<{ROLE_NAME}:name>")
class Role(Resource):
    """One role."""

    @roles.contract(
        operation="get_role",
        summary="Return a role",
        access=permission(Permission.ROLES_READ),
        data=RoleResponse,
        limits=[ADMIN_READS],
        errors=[RoleUnknown],
    )
    def get(self, name: str) -> RoleRecord:
        return services().roles.by_name(name)

    @roles.contract(
        operation="change_role",
        summary="Change the description or the permissions of a role",
        description="A change of the permissions takes effect with the next request of each user of the role.",
        access=permission(Permission.ROLES_WRITE),
        body=ChangeRoleRequest,
        data=RoleResponse,
        limits=[ADMIN_WRITES],
        errors=[RoleUnknown, RoleIsSystem, LimitReached, BeyondYourOwn],
    )
    def patch(self, name: str, body: ChangeRoleRequest) -> RoleRecord:
        return services().roles.change(
            name,
            description=body.description,
            permissions=body.permissions,
            caller=caller(),
            client=client_info(),
        )

    @roles.under(DELETE)
    def delete(self, name: str) -> None:
        delete_role(name)


@roles.route("/users/<user_id:user_id>/roles")
class RolesOfOneUser(Resource):
    """The roles of a user."""

    @roles.contract(
        operation="get_roles_of_user",
        summary="Return the roles and permissions of a user",
        access=permission(Permission.ROLES_READ),
        data=RolesAndPermissionsResponse,
        limits=[ADMIN_READS],
        errors=[UserUnknown],
    )
    def get(self, user_id: int) -> UserPermissions:
        return services().roles.of_user(user_id)


@roles.route(f"/users/<user_id:user_id>/roles/<{ROLE_NAME}:name>")
class RoleOfUser(Resource):
    """One role of a user."""

    @roles.contract(
        operation="grant_role",
        summary="Grant a role to a user",
        description="The answer is the same if the user has the role already.",
        access=permission(Permission.ROLES_GRANT),
        data=RolesOfUserResponse,
        limits=[ADMIN_WRITES],
        errors=[*GRANT_ERRORS, MailNotConfirmed, LimitReached],
    )
    def put(self, user_id: int, name: str) -> UserRoles:
        return services().roles.grant(user_id, name, caller=caller(), client=client_info())

    @roles.contract(
        operation="revoke_role",
        summary="Revoke a role from a user",
        description="The answer is the same if the user does not have the role.",
        access=permission(Permission.ROLES_GRANT),
        data=RolesOfUserResponse,
        limits=[ADMIN_WRITES],
        errors=[*GRANT_ERRORS, LastAdministrator],
    )
    def delete(self, user_id: int, name: str) -> UserRoles:
        return services().roles.revoke(user_id, name, caller=caller(), client=client_info())


@roles.route("/roles/check_permissions")
class CheckPermissions(Resource):
    """Check of the permissions of a user."""

    @roles.under(CHECK)
    def get(self, query: CheckPermissionsQuery) -> PermissionCheck:
        return check_permissions(query)


@roles.route("/roles/check_permissions/", doc=False)
class CheckPermissionsWithSlash(CheckPermissions):
    """The same operation under a second path, which clients of the reference implementation use."""


@roles.route("/permissions")
class AllPermissions(Resource):
    """All permissions."""

    @roles.contract(
        operation="list_permissions",
        summary="List the permissions that roles can have",
        access=permission(Permission.ROLES_READ),
        items=PermissionResponse,
        limits=[ADMIN_READS],
    )
    def get(self) -> Page[PermissionInfo]:
        return Page(items=services().roles.permissions())
