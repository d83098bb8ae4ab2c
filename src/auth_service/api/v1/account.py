"""The account of whoever is signed in: who I am, another address, my data, leaving."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import caller
from auth_service.api.security.client import client_network
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import CODE_ATTEMPTS, CODE_REQUESTS, EXPORTS, SIGN_INS
from auth_service.api.v1.schemas.account import (
    DeletionRequest,
    ExportResponse,
    MeResponse,
    NewEmailCodeRequest,
    NewEmailRequest,
)
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.registration import CodeSentResponse
from auth_service.errors import (
    AccountChanged,
    CodeExpired,
    CodeWrong,
    EmailTaken,
    PasswordNotSet,
    PasswordWrong,
    ReauthenticationRequired,
    RedisUnavailable,
    TooManyAttempts,
    TooManyCodes,
)
from auth_service.services.credentials.one_time_codes import CodeSent
from auth_service.services.flows.data_export import Exported
from auth_service.services.sessions.sessions import CurrentUser

account = Namespace("account", description="One's own account.")

PROVING = [ReauthenticationRequired, PasswordNotSet, PasswordWrong, TooManyAttempts]


@account.route("/me")
class Me(Resource):
    """The caller."""

    @account.contract(summary="Return the signed-in user and its roles", data=MeResponse)
    def get(self) -> CurrentUser:
        return caller()

    @account.contract(
        summary="Delete the account, with the password or an emailed deletion code",
        description="A deleted account cannot be restored.",
        body=DeletionRequest,
        done=True,
        limits=[SIGN_INS],
        errors=[*PROVING, CodeWrong, CodeExpired, AccountChanged, RedisUnavailable],
    )
    def delete(self, body: DeletionRequest) -> None:
        services().account.delete(caller(), password=revealed(body.password), code=body.code, client=client_info())
        session_cookies.take_back()


@account.route("/me/send_code")
class SendDeletionCode(Resource):
    """Codes for deleting the account."""

    @account.contract(
        summary="Send a code that confirms the deletion of the account from this session",
        data=CodeSentResponse,
        done=True,
        limits=[CODE_REQUESTS],
        errors=[TooManyCodes, RedisUnavailable],
    )
    def post(self) -> CodeSent:
        return services().account.send_deletion_code(caller(), network=client_network())


@account.route("/me/email")
class MyEmail(Resource):
    """The address of the account."""

    @account.contract(
        summary="Send a code to the new email address",
        description="The answer is the same whether or not a user has this address.",
        body=NewEmailRequest,
        data=CodeSentResponse,
        done=True,
        limits=[CODE_REQUESTS],
        errors=[*PROVING, TooManyCodes, RedisUnavailable],
    )
    def post(self, body: NewEmailRequest) -> CodeSent:
        return services().email_change_flow.begin(
            caller(),
            email=body.email,
            password=revealed(body.password),
            client=client_info(),
            network=client_network(),
        )

    @account.contract(
        summary="Change the email address with the code that was sent to the new one",
        description="The old address gets a security notification.",
        body=NewEmailCodeRequest,
        done=True,
        limits=[CODE_ATTEMPTS],
        errors=[CodeWrong, CodeExpired, EmailTaken, RedisUnavailable],
    )
    def put(self, body: NewEmailCodeRequest) -> None:
        services().email_change_flow.confirm(caller(), code=body.code, client=client_info())


@account.route("/me/export")
class MyData(Resource):
    """Export of the caller's data."""

    @account.contract(
        summary="Export the data of the account",
        description="At most the newest thousand records of each kind.",
        data=ExportResponse,
        limits=[EXPORTS],
    )
    def get(self) -> Exported:
        return services().export.of(caller(), client=client_info())
