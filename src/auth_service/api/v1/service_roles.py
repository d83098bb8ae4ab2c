"""Role endpoints for other services under `/api/srv`, in the form of the reference implementation."""

from dataclasses import replace

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.http.parsing import ROLE_NAME
from auth_service.api.security.authentication import service
from auth_service.api.security.authorization import caller
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_READS, ADMIN_WRITES
from auth_service.api.v1.roles import (
    CHECK,
    DELETE,
    GRANT,
    GRANT_ERRORS,
    LIST,
    REVOKE,
    check_permissions,
    delete_role,
    grant_role,
    list_roles,
    revoke_role,
)
from auth_service.api.v1.schemas.pagination import PageQuery
from auth_service.api.v1.schemas.roles import (
    CheckPermissionsQuery,
    CreatedServiceRoleResponse,
    CreateServiceRoleRequest,
    RoleGrantRequest,
    ServiceUserQuery,
    ServiceUserResponse,
)
from auth_service.errors import (
    LimitReached,
    RoleTaken,
    UserUnknown,
)
from auth_service.models.permission import Permission
from auth_service.services.authorization.roles import PermissionCheck
from auth_service.services.authorization.statements import RoleRecord, UserRoles, UserWithRoles
from auth_service.services.pagination import Page

service_roles = Namespace("service roles", description="Roles, for other services with a service key.")


@service_roles.route("/roles")
class ServiceRoles(Resource):
    """All roles, and grants."""

    @service_roles.under(replace(LIST, operation="list_roles_as_service", access=service(Permission.ROLES_READ)))
    def get(self, query: PageQuery) -> Page[RoleRecord]:
        return list_roles(query)

    @service_roles.under(replace(GRANT, operation="grant_role_as_service", access=service(Permission.ROLES_GRANT)))
    def post(self, body: RoleGrantRequest) -> UserRoles:
        return grant_role(self, body)

    # A service key never removes an administrator: `beyond_your_own`, not `last_administrator`.
    @service_roles.under(
        replace(REVOKE, operation="revoke_role_as_service", access=service(Permission.ROLES_GRANT), errors=GRANT_ERRORS)
    )
    def delete(self, query: RoleGrantRequest) -> UserRoles:
        return revoke_role(query)


@service_roles.route("/roles/check_permissions")
class CheckServicePermissions(Resource):
    """Check of the permissions of a user."""

    @service_roles.under(
        replace(CHECK, operation="check_permissions_as_service", access=service(Permission.ROLES_READ))
    )
    def get(self, query: CheckPermissionsQuery) -> PermissionCheck:
        return check_permissions(query)


@service_roles.route("/roles/check_permissions/", doc=False)
class CheckServicePermissionsWithSlash(CheckServicePermissions):
    """The same operation under a second path, which clients of the reference implementation use."""


@service_roles.route("/roles/create_role")
class CreateServiceRole(Resource):
    """Creation of roles without permissions."""

    @service_roles.contract(
        operation="create_role_as_service",
        summary="Create a role without permissions",
        access=service(Permission.ROLES_WRITE),
        body=CreateServiceRoleRequest,
        data=CreatedServiceRoleResponse,
        status=201,
        limits=[ADMIN_WRITES],
        errors=[RoleTaken, LimitReached],
    )
    def post(self, body: CreateServiceRoleRequest) -> dict[str, str]:
        role = services().roles.create(
            body.role_name, description=body.description, permissions=(), caller=caller(), client=client_info()
        )
        return {"role_id": role.name, "name": role.name}


@service_roles.route(f"/roles/<{ROLE_NAME}:name>/delete_role")
class DeleteServiceRole(Resource):
    """Deletion of roles."""

    @service_roles.under(replace(DELETE, operation="delete_role_as_service", access=service(Permission.ROLES_WRITE)))
    def delete(self, name: str) -> None:
        delete_role(name)


@service_roles.route("/users")
class ServiceUser(Resource):
    """Look-up of a user by id."""

    @service_roles.contract(
        operation="get_user_as_service",
        summary="Return a user by id",
        access=service(Permission.USERS_READ),
        query=ServiceUserQuery,
        data=ServiceUserResponse,
        limits=[ADMIN_READS],
        errors=[UserUnknown],
    )
    def get(self, query: ServiceUserQuery) -> UserWithRoles:
        return services().roles.user(int(query.user_id))
