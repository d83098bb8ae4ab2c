"""Password endpoints: password reset with an emailed code, password change."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authentication import anyone, current_user
from auth_service.api.security.authorization import signed_in_strongly
from auth_service.api.security.client import client_network
from auth_service.api.security.client_info import client_info
from auth_service.api.security.flow_cookies import PASSWORD_RESET
from auth_service.api.security.rate_limits import SIGN_INS
from auth_service.api.v1.schemas.passwords import ChangePasswordRequest, PasswordResetRequest
from auth_service.api.v1.schemas.sign_in import EmailAddressRequest
from auth_service.api.v1.sign_in import code_request_contract
from auth_service.errors import (
    AccountChanged,
    CodeExpired,
    CodeWrong,
    PasswordNotSet,
    PasswordWrong,
    RedisUnavailable,
    TooManyAttempts,
)

passwords = Namespace("passwords", description="Password reset and password change.")


@passwords.route("/password/send_code")
class SendRecoveryCode(Resource):
    """Emailed codes for a password reset."""

    @passwords.under(
        code_request_contract(
            operation="send_password_reset_code", summary="Send a code for a password reset", ticket=PASSWORD_RESET
        )
    )
    def post(self, body: EmailAddressRequest) -> None:
        PASSWORD_RESET.issue(
            services().password_reset.send_code(
                email=body.email, ticket=PASSWORD_RESET.presented(), network=client_network()
            )
        )


@passwords.route("/password")
class Password(Resource):
    """Password reset."""

    @passwords.contract(
        operation="reset_password",
        summary="Reset the password with the code from the newest email",
        description="Revokes every session and opens none.",
        access=anyone,
        body=PasswordResetRequest,
        done=True,
        reads_cookies=[PASSWORD_RESET.cookie],
        limits=[SIGN_INS],
        errors=[CodeWrong, CodeExpired, RedisUnavailable],
    )
    def put(self, body: PasswordResetRequest) -> None:
        services().password_reset.set_password(
            email=body.email,
            code=body.code,
            new_password=body.new_password.get_secret_value(),
            ticket=PASSWORD_RESET.presented(),
            client=client_info(),
        )


@passwords.route("/me/password")
class MyPassword(Resource):
    """Password change of the current user."""

    @passwords.contract(
        operation="change_my_password",
        summary="Change the password",
        description="Revokes all other sessions.",
        access=signed_in_strongly,
        body=ChangePasswordRequest,
        done=True,
        limits=[SIGN_INS],
        errors=[PasswordNotSet, PasswordWrong, TooManyAttempts, AccountChanged],
    )
    def put(self, body: ChangePasswordRequest) -> None:
        services().account.change_password(
            current_user(),
            current=body.current_password.get_secret_value(),
            new=body.new_password.get_secret_value(),
            client=client_info(),
        )
