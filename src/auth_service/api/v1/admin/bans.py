"""Ban endpoints: ban a user, lift the ban."""

from flask_restx import Resource

from auth_service.api.current import services
from auth_service.api.security.authorization import caller, permission
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_WRITES
from auth_service.api.v1.admin.users import admin_users
from auth_service.api.v1.schemas.admin.accounts import BanRequest
from auth_service.errors import BeyondYourOwn, LastAdministrator, NotToYourself, UserUnknown
from auth_service.models.permission import Permission

__all__ = ["admin_users"]


@admin_users.route("/users/<user_id:user_id>/ban")
class BanOfUser(Resource):
    """The ban of a user."""

    @admin_users.contract(
        operation="ban_user",
        summary="Ban a user and revoke all sessions",
        description=(
            "The ban is effective with the next request of the user. A sign-in with correct credentials is answered "
            "with 403 `account_banned`. The user gets an email with `reason` and `until`. A ban in force gets the new "
            "`reason` and `until`; with equal values nothing happens."
        ),
        access=permission(Permission.USERS_BAN),
        body=BanRequest,
        done=True,
        limits=[ADMIN_WRITES],
        errors=[UserUnknown, NotToYourself, BeyondYourOwn, LastAdministrator],
    )
    def put(self, user_id: int, body: BanRequest) -> None:
        services().user_administration.ban(
            user_id, reason=body.reason, until=body.until, caller=caller(), client=client_info()
        )

    @admin_users.contract(
        operation="unban_user",
        summary="Lift the ban of a user",
        description="The user can sign in again; revoked sessions stay revoked. The answer is the same without a ban.",
        access=permission(Permission.USERS_BAN),
        done=True,
        limits=[ADMIN_WRITES],
        errors=[UserUnknown, NotToYourself, BeyondYourOwn],
    )
    def delete(self, user_id: int) -> None:
        services().user_administration.unban(user_id, caller=caller(), client=client_info())
