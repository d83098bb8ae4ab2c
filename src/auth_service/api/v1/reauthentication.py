"""Reauthentication endpoints: step-up authentication with the password or an emailed code (RFC 9470)."""

from flask_restx import Resource

from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import current_user
from auth_service.api.security.authorization import restricted
from auth_service.api.security.client import client_network
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import CODE_REQUESTS, REAUTHENTICATIONS
from auth_service.api.v1.account import account
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.reauthentication import ReauthenticateRequest
from auth_service.api.v1.schemas.registration import CodeSentResponse
from auth_service.api.v1.schemas.sign_in import TokensResponse
from auth_service.errors import (
    AccountChanged,
    CodeExpired,
    CodeWrong,
    PasswordNotSet,
    PasswordWrong,
    RedisUnavailable,
    SecondFactorWrong,
    TooManyAttempts,
    TooManyCodes,
)
from auth_service.services.credentials.one_time_codes import CodeSent
from auth_service.services.flows.second_factor.verification import presented_code
from auth_service.services.sessions.sessions import Tokens

__all__ = ["account"]


@account.route("/me/reauthenticate")
class Reauthenticate(Resource):
    """Reauthentication."""

    @account.contract(
        operation="reauthenticate",
        summary="Authenticate again, with the password or an emailed code",
        description=(
            "A new session replaces the current one: its tokens become invalid, and the answer has those of the new "
            "session, in the same transport. An account that requires a second factor needs `totp` or `recovery_code`, "
            "too."
        ),
        access=restricted,
        body=ReauthenticateRequest,
        data=TokensResponse,
        sets_cookies=session_cookies.SESSION_COOKIES,
        limits=[REAUTHENTICATIONS],
        errors=[
            *(PasswordNotSet, PasswordWrong, TooManyAttempts, CodeWrong, CodeExpired, SecondFactorWrong),
            *(AccountChanged, RedisUnavailable),
        ],
    )
    def post(self, body: ReauthenticateRequest) -> Tokens:
        user, step_up = current_user(), services().step_up
        second = presented_code(totp=body.totp, recovery_code=revealed(body.recovery_code))
        if body.password is not None:
            password = body.password.get_secret_value()
            tokens = step_up.by_password(user, password, second=second, client=client_info())
        else:
            tokens = step_up.by_code(user, body.code or "", second=second, client=client_info())
        return session_cookies.delivered(tokens, transport=user.transport)


@account.route("/me/reauthenticate/send_code")
class SendReauthenticationCode(Resource):
    """Emailed codes for reauthentication."""

    @account.contract(
        operation="send_reauthentication_code",
        summary="Send a code that reauthenticates this session",
        access=restricted,
        data=CodeSentResponse,
        done=True,
        limits=[CODE_REQUESTS],
        errors=[TooManyCodes, RedisUnavailable],
    )
    def post(self) -> CodeSent:
        return services().step_up.send_code(current_user(), network=client_network())
