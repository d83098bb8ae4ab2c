"""The account of whoever is signed in: who I am, another address, my data, leaving."""

from flask_restx import Resource

from auth_service.api import session_cookies
from auth_service.api.access import caller
from auth_service.api.contract import Namespace
from auth_service.api.limits import PerClient, client_network
from auth_service.api.origin import origin
from auth_service.api.v1.schemas.account import DeletionForm, ExportCard, MeCard, NewEmailCodeForm, NewEmailForm
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.registration import CodeSentCard
from auth_service.api.wired import services
from auth_service.errors import (
    AccountChanged,
    CodeExpired,
    CodeWrong,
    EmailTaken,
    PasswordNotSet,
    PasswordWrong,
    ReauthenticationRequired,
    RedisAway,
    TooManyAttempts,
    TooManyCodes,
)
from auth_service.services.codes import CodeSent
from auth_service.services.export import Exported
from auth_service.services.sessions import Caller

account = Namespace("account", description="One's own account.")

PROVING = [ReauthenticationRequired, PasswordNotSet, PasswordWrong, TooManyAttempts]


@account.route("/me")
class Me(Resource):
    """The caller."""

    @account.contract(data=MeCard)
    def get(self) -> Caller:
        """Say who I am and what I may do."""
        return caller()

    @account.contract(
        body=DeletionForm,
        done=True,
        limits=[PerClient(setting="limit_sign_ins")],
        refuses=[*PROVING, CodeWrong, CodeExpired, AccountChanged, RedisAway],
    )
    def delete(self, body: DeletionForm) -> None:
        """Delete my account, with the password or with a code that was mailed for this; it cannot be brought back."""
        services().account.delete(caller(), password=revealed(body.password), code=body.code, origin=origin())
        session_cookies.take_back()


@account.route("/me/send_code")
class SendDeletionCode(Resource):
    """Codes for deleting the account."""

    @account.contract(
        data=CodeSentCard,
        done=True,
        limits=[PerClient(setting="limit_code_requests")],
        refuses=[TooManyCodes, RedisAway],
    )
    def post(self) -> CodeSent:
        """Mail a code that confirms the deletion of my account from this session."""
        return services().account.send_deletion_code(caller(), network=client_network())


@account.route("/me/email")
class MyEmail(Resource):
    """The address of the account."""

    @account.contract(
        body=NewEmailForm,
        data=CodeSentCard,
        done=True,
        limits=[PerClient(setting="limit_code_requests")],
        refuses=[*PROVING, TooManyCodes, RedisAway],
    )
    def post(self, body: NewEmailForm) -> CodeSent:
        """Mail a code to the address that I want; the answer does not tell whether somebody has it already."""
        return services().email_changes.begin(
            caller(),
            email=body.email,
            password=revealed(body.password),
            origin=origin(),
            network=client_network(),
        )

    @account.contract(
        body=NewEmailCodeForm,
        done=True,
        limits=[PerClient(setting="limit_guesses")],
        refuses=[CodeWrong, CodeExpired, EmailTaken, RedisAway],
    )
    def put(self, body: NewEmailCodeForm) -> None:
        """Move my account to the new address with the code that was mailed there; the old one is told."""
        services().email_changes.confirm(caller(), code=body.code, origin=origin())


@account.route("/me/export")
class MyData(Resource):
    """Export of the caller's data."""

    @account.contract(data=ExportCard, limits=[PerClient(setting="limit_exports")])
    def get(self) -> Exported:
        """Give me everything that is kept about me, at most the newest thousand of each kind."""
        return services().export.of(caller(), origin=origin())
