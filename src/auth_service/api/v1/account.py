"""Account endpoints of the current user: `/me`, email change, data export, deletion."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import current_user
from auth_service.api.security.authorization import restricted, signed_in_strongly
from auth_service.api.security.client import client_network
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import CODE_ATTEMPTS, CODE_REQUESTS, EXPORTS, SIGN_INS
from auth_service.api.v1.schemas.account import (
    ChangeEmailRequest,
    ChangeLanguageRequest,
    ConfirmNewEmailRequest,
    DeleteAccountRequest,
    ExportResponse,
    LanguageResponse,
    MeResponse,
)
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.registration import CodeSentResponse
from auth_service.errors import (
    AccountChanged,
    CodeExpired,
    CodeWrong,
    EmailTaken,
    EmailUnchanged,
    LastAdministrator,
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

account = Namespace("account", description="The account of the current user.")

REAUTHENTICATION_ERRORS = [ReauthenticationRequired, PasswordNotSet, PasswordWrong, TooManyAttempts]


@account.route("/me")
class Me(Resource):
    """The current user; language of emails; deletion of the account."""

    @account.contract(
        operation="get_me",
        summary="Return the signed-in user with roles, permissions and authentication level",
        access=restricted,
        data=MeResponse,
    )
    def get(self) -> CurrentUser:
        return current_user()

    @account.contract(
        operation="change_my_language",
        summary="Choose the language of the emails to the signed-in user",
        description="It applies to all emails that are written afterwards.",
        body=ChangeLanguageRequest,
        data=LanguageResponse,
        done=True,
        limits=[SIGN_INS],
    )
    def patch(self, body: ChangeLanguageRequest) -> ChangeLanguageRequest:
        services().account.change_language(current_user(), language=body.language, client=client_info())
        return body

    @account.contract(
        operation="delete_my_account",
        summary="Delete the account, with the password or an emailed deletion code",
        description="A deleted account cannot be restored.",
        access=signed_in_strongly,
        body=DeleteAccountRequest,
        done=True,
        sets_cookies=session_cookies.SESSION_COOKIES,
        limits=[SIGN_INS],
        errors=[*REAUTHENTICATION_ERRORS, CodeWrong, CodeExpired, AccountChanged, LastAdministrator, RedisUnavailable],
    )
    def delete(self, body: DeleteAccountRequest) -> None:
        services().account.delete(
            current_user(), password=revealed(body.password), code=body.code, client=client_info()
        )
        session_cookies.clear_session_cookies()


@account.route("/me/send_code")
class SendDeletionCode(Resource):
    """Emailed codes that confirm the deletion."""

    @account.contract(
        operation="send_deletion_code",
        summary="Send a code that confirms the deletion of the account from this session",
        data=CodeSentResponse,
        done=True,
        limits=[CODE_REQUESTS],
        errors=[TooManyCodes, RedisUnavailable],
    )
    def post(self) -> CodeSent:
        return services().account.send_deletion_code(current_user(), network=client_network())


@account.route("/me/email")
class MyEmail(Resource):
    """Change of the email address."""

    @account.contract(
        operation="request_email_change",
        summary="Send a code to the new email address",
        description=(
            "The answer is the same whether or not another user has this address. Another spelling of the own address "
            "is changed by code, too."
        ),
        access=signed_in_strongly,
        body=ChangeEmailRequest,
        data=CodeSentResponse,
        done=True,
        limits=[CODE_REQUESTS],
        errors=[EmailUnchanged, *REAUTHENTICATION_ERRORS, TooManyCodes, RedisUnavailable],
    )
    def post(self, body: ChangeEmailRequest) -> CodeSent:
        return services().email_change_flow.begin(
            current_user(),
            email=body.email,
            password=revealed(body.password),
            client=client_info(),
            network=client_network(),
        )

    @account.contract(
        operation="confirm_email_change",
        summary="Change the email address with the code that was sent to the new one",
        description="The old address gets a security notification.",
        body=ConfirmNewEmailRequest,
        done=True,
        limits=[CODE_ATTEMPTS],
        errors=[CodeWrong, CodeExpired, EmailTaken, RedisUnavailable],
    )
    def put(self, body: ConfirmNewEmailRequest) -> None:
        services().email_change_flow.confirm(current_user(), code=body.code, client=client_info())


@account.route("/me/export")
class MyData(Resource):
    """Data export."""

    @account.contract(
        operation="export_my_data",
        summary="Export the data of the account",
        description="At most the newest thousand records of each kind.",
        data=ExportResponse,
        limits=[EXPORTS],
    )
    def get(self) -> Exported:
        return services().export.of(current_user(), client=client_info())
