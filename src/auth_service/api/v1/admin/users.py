"""User administration: list and count users, show and delete one user."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authorization import caller, permission
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_READS, ADMIN_WRITES
from auth_service.api.v1.schemas.admin.accounts import DeleteUserRequest
from auth_service.api.v1.schemas.admin.users import (
    CountUsersQuery,
    FoundUserResponse,
    UserCountResponse,
    UserDetailsResponse,
    UsersQuery,
)
from auth_service.errors import BeyondYourOwn, LastAdministrator, NotToYourself, UserUnknown
from auth_service.models.permission import Permission
from auth_service.services.pagination import Page
from auth_service.services.users.search_statements import FoundUser, UserDetails
from auth_service.services.users.user_search import UserCount, UserFilters

admin_users = Namespace("user administration", description="Users, for administrators and support staff.")


def _filters(query: CountUsersQuery) -> UserFilters:
    return UserFilters(
        email_key=None if query.email is None else query.email.key,
        prefix=query.query,
        status=query.status,
        role=query.role,
        provider=query.provider,
    )


@admin_users.route("/users")
class AdminUsers(Resource):
    """All users."""

    @admin_users.contract(
        operation="list_users",
        summary="List users, newest first",
        description=(
            "Send `next_cursor` as `cursor`, with the same filters, to get the next page; it is null on the last one. "
            "The pages are stable while users are created and deleted."
        ),
        access=permission(Permission.USERS_READ),
        query=UsersQuery,
        items=FoundUserResponse,
        limits=[ADMIN_READS],
    )
    def get(self, query: UsersQuery) -> Page[FoundUser]:
        return services().user_search.page(_filters(query), caller=caller(), cursor=query.cursor, limit=query.limit)


@admin_users.route("/users/count")
class AdminUserCount(Resource):
    """The number of users."""

    @admin_users.contract(
        operation="count_users",
        summary="Count users; counting stops at 10,000",
        access=permission(Permission.USERS_READ),
        query=CountUsersQuery,
        data=UserCountResponse,
        limits=[ADMIN_READS],
    )
    def get(self, query: CountUsersQuery) -> UserCount:
        return services().user_search.count(_filters(query))


@admin_users.route("/users/<user_id:user_id>")
class AdminUser(Resource):
    """One user."""

    @admin_users.contract(
        operation="get_user",
        summary="Return a user with status, roles, sessions and ban",
        access=permission(Permission.USERS_READ),
        data=UserDetailsResponse,
        limits=[ADMIN_READS],
        errors=[UserUnknown],
    )
    def get(self, user_id: int) -> UserDetails:
        return services().user_search.details(user_id)

    @admin_users.contract(
        operation="delete_user",
        summary="Delete a user",
        description="A deleted account cannot be restored. The user gets an email.",
        access=permission(Permission.USERS_DELETE),
        body=DeleteUserRequest,
        done=True,
        limits=[ADMIN_WRITES],
        errors=[UserUnknown, NotToYourself, BeyondYourOwn, LastAdministrator],
    )
    def delete(self, user_id: int, body: DeleteUserRequest) -> None:
        services().user_administration.delete(user_id, reason=body.reason, caller=caller(), client=client_info())
