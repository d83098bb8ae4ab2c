"""Passwords: recovering one that was forgotten, changing one that is known."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authentication import anyone, caller
from auth_service.api.security.client import client_network
from auth_service.api.security.client_info import client_info
from auth_service.api.security.flow_cookies import RECOVERY
from auth_service.api.security.rate_limits import SIGN_INS
from auth_service.api.v1.schemas.passwords import PasswordRequest, RecoveryRequest
from auth_service.api.v1.schemas.sessions import AddressRequest
from auth_service.api.v1.sessions import code_request
from auth_service.errors import (
    AccountChanged,
    CodeExpired,
    CodeWrong,
    PasswordNotSet,
    PasswordWrong,
    RedisUnavailable,
    TooManyAttempts,
)

passwords = Namespace("passwords", description="Setting and changing passwords.")


@passwords.route("/password/send_code")
class SendRecoveryCode(Resource):
    """Codes to set a password with."""

    @passwords.under(code_request(summary="Send a code for a password reset"))
    def post(self, body: AddressRequest) -> None:
        RECOVERY.issue(
            services().recovery.send_code(email=body.email, ticket=RECOVERY.presented(), network=client_network())
        )


@passwords.route("/password")
class Password(Resource):
    """Recovery of a forgotten password."""

    @passwords.contract(
        summary="Reset the password with the code from the newest email",
        description="Revokes every session and opens none.",
        access=anyone,
        body=RecoveryRequest,
        done=True,
        limits=[SIGN_INS],
        errors=[CodeWrong, CodeExpired, RedisUnavailable],
    )
    def put(self, body: RecoveryRequest) -> None:
        services().recovery.set_password(
            email=body.email,
            code=body.code,
            new_password=body.new_password.get_secret_value(),
            ticket=RECOVERY.presented(),
            client=client_info(),
        )


@passwords.route("/me/password")
class MyPassword(Resource):
    """The password of the caller."""

    @passwords.contract(
        summary="Change the password",
        description="Revokes all other sessions.",
        body=PasswordRequest,
        done=True,
        limits=[SIGN_INS],
        errors=[PasswordNotSet, PasswordWrong, TooManyAttempts, AccountChanged],
    )
    def put(self, body: PasswordRequest) -> None:
        services().account.change_password(
            caller(),
            current=body.current_password.get_secret_value(),
            new=body.new_password.get_secret_value(),
            client=client_info(),
        )
