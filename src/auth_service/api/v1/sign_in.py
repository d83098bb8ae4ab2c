"""Sign-in endpoints: sign in with a password, or with an emailed code."""

from flask_restx import Resource

from auth_service.api.contract.contract import Contract
from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import anyone
from auth_service.api.security.client import client_network
from auth_service.api.security.client_info import DEVICE
from auth_service.api.security.flow_cookies import SECOND_STEP, SIGN_IN, FlowCookie
from auth_service.api.security.rate_limits import CODE_REQUESTS, SIGN_INS
from auth_service.api.security.session_cookies import SESSION_COOKIES
from auth_service.api.v1.schemas.sign_in import (
    CodeSignInRequest,
    EmailAddressRequest,
    SignInRequest,
    TokensResponse,
)
from auth_service.errors import (
    AccountBanned,
    CredentialsRejected,
    CrossSite,
    RedisUnavailable,
    SecondFactorRequired,
    TooManyAttempts,
    TooManyCodes,
)
from auth_service.services.sessions.sessions import Tokens

sessions = Namespace("sessions", description="Sign-in, refresh tokens and sign-out.")
"""Shared with sessions.py: generated clients group the operations by the tags of the document."""

SIGN_IN_COOKIES = (*SESSION_COOKIES, DEVICE)


def code_request_contract(*, operation: str, summary: str, ticket: FlowCookie) -> Contract:
    """Return the contract of a request for an emailed code by email address, for sign-in and password reset.

    One response for known and unknown addresses: prevents user enumeration (ASVS 6.3.8).
    """
    return Contract(
        operation=operation,
        summary=summary,
        description="The answer is the same whether or not a user has this address.",
        access=anyone,
        body=EmailAddressRequest,
        done=True,
        reads_cookies=[ticket.cookie],
        sets_cookies=[ticket.cookie],
        limits=[CODE_REQUESTS],
        errors=[TooManyCodes, RedisUnavailable],
    )


@sessions.route("/sign_in")
class SignIn(Resource):
    """Sign-in by password."""

    @sessions.contract(
        operation="sign_in",
        summary="Sign in with a password",
        access=anyone,
        body=SignInRequest,
        data=TokensResponse,
        reads_cookies=[DEVICE],
        sets_cookies=(*SIGN_IN_COOKIES, SECOND_STEP.cookie),
        limits=[SIGN_INS],
        errors=[CredentialsRejected, SecondFactorRequired, AccountBanned, TooManyAttempts, CrossSite],
    )
    def post(self, body: SignInRequest) -> Tokens:
        context = session_cookies.sign_in_context(body.transport)
        password = body.password.get_secret_value()
        with session_cookies.second_step_in_cookie(body.transport):
            signed_in = services().sign_in.by_password(email=body.email, password=password, context=context)
        return session_cookies.signed_in(signed_in)


@sessions.route("/sign_in/send_code")
class SendSignInCode(Resource):
    """Emailed codes for sign-in."""

    @sessions.under(
        code_request_contract(operation="send_sign_in_code", summary="Send a code to sign in with", ticket=SIGN_IN)
    )
    def post(self, body: EmailAddressRequest) -> None:
        SIGN_IN.issue(
            services().sign_in.send_code(email=body.email, ticket=SIGN_IN.presented(), network=client_network())
        )


@sessions.route("/sign_in/code")
class CodeSignIn(Resource):
    """Sign-in by emailed code."""

    @sessions.contract(
        operation="sign_in_by_code",
        summary="Sign in with the code from the newest email",
        access=anyone,
        body=CodeSignInRequest,
        data=TokensResponse,
        reads_cookies=[SIGN_IN.cookie, DEVICE],
        sets_cookies=(*SIGN_IN_COOKIES, SECOND_STEP.cookie),
        limits=[SIGN_INS],
        errors=[CredentialsRejected, SecondFactorRequired, AccountBanned, CrossSite, RedisUnavailable],
    )
    def post(self, body: CodeSignInRequest) -> Tokens:
        context = session_cookies.sign_in_context(body.transport)
        with session_cookies.second_step_in_cookie(body.transport):
            signed_in = services().sign_in.by_code(
                email=body.email, code=body.code, ticket=SIGN_IN.presented(), context=context
            )
        return session_cookies.signed_in(signed_in)
