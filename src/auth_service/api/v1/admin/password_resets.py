"""Forced password resets and resets of second factors by administrators and support staff."""

from flask_restx import Resource

from auth_service.api.current import services
from auth_service.api.security.authorization import caller, permission
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_WRITES
from auth_service.api.v1.admin.bans import admin_users
from auth_service.api.v1.schemas.admin.accounts import ForcePasswordResetRequest, ResetSecondFactorRequest
from auth_service.errors import BeyondYourOwn, MailNotConfirmed, NotToYourself, UserUnknown
from auth_service.models.permission import Permission

__all__ = ["admin_users"]


@admin_users.route("/users/<user_id:user_id>/force_password_reset")
class ForcedPasswordReset(Resource):
    """Forced password resets."""

    @admin_users.contract(
        operation="force_password_reset",
        summary="Remove the password of a user, revoke all sessions and email a password reset code",
        description=(
            "The user gets a notification, and a code for `PUT /users/password` that needs no cookie. If the limit of "
            "codes of the address is reached or Redis is not available, only the notification is sent, which says how "
            "to request a code."
        ),
        access=permission(Permission.USERS_WRITE),
        body=ForcePasswordResetRequest,
        done=True,
        limits=[ADMIN_WRITES],
        errors=[UserUnknown, NotToYourself, BeyondYourOwn, MailNotConfirmed],
    )
    def post(self, user_id: int, body: ForcePasswordResetRequest) -> None:
        services().user_administration.force_password_reset(
            user_id, reason=body.reason, caller=caller(), client=client_info()
        )


@admin_users.route("/users/<user_id:user_id>/reset_second_factor")
class SecondFactorReset(Resource):
    """Resets of second factors."""

    @admin_users.contract(
        operation="reset_second_factor",
        summary="Remove the second factors of a user and revoke all sessions",
        description=(
            "Removes TOTP, recovery codes, passkeys and trusted devices. Verify the identity of the person first. The "
            "user gets a notification. The password stays; a user whose role requires a second factor enrols a new one "
            "at the next sign-in."
        ),
        access=permission(Permission.USERS_WRITE),
        body=ResetSecondFactorRequest,
        done=True,
        limits=[ADMIN_WRITES],
        errors=[UserUnknown, NotToYourself, BeyondYourOwn],
    )
    def post(self, user_id: int, body: ResetSecondFactorRequest) -> None:
        services().second_factor_reset.by_administrator(
            user_id, reason=body.reason, caller=caller(), client=client_info()
        )
