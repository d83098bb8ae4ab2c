"""Signing in, staying signed in, and ending it."""

import uuid

from flask_restx import Resource

from auth_service.api.contract.contract import Contract
from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import anyone, caller
from auth_service.api.security.client import client_network
from auth_service.api.security.client_info import client_info
from auth_service.api.security.flow_cookies import SIGN_IN
from auth_service.api.security.rate_limits import CODE_REQUESTS, REFRESHES, SIGN_INS
from auth_service.api.v1.schemas.pagination import PageQuery
from auth_service.api.v1.schemas.sessions import (
    AddressRequest,
    CodeSignInRequest,
    RefreshRequest,
    SessionResponse,
    SignInRequest,
    TokensResponse,
)
from auth_service.errors import (
    CredentialsRejected,
    CrossSite,
    RedisUnavailable,
    RefreshRejected,
    SessionUnknown,
    TooManyAttempts,
    TooManyCodes,
)
from auth_service.services.pagination import Page
from auth_service.services.sessions.my_sessions import OpenSession
from auth_service.services.sessions.sessions import Tokens

sessions = Namespace("sessions", description="Signing in, staying signed in, and ending it.")


def code_request(*, summary: str) -> Contract:
    """The contract of a request for an emailed code by address, for sign-in and password reset alike.

    One contract and one answer for known and unknown addresses: prevents user enumeration.
    """
    return Contract(
        summary=summary,
        description="The answer is the same whether or not a user has this address.",
        access=anyone,
        body=AddressRequest,
        done=True,
        limits=[CODE_REQUESTS],
        errors=[TooManyCodes, RedisUnavailable],
    )


@sessions.route("/sign_in")
class SignIn(Resource):
    """Sign-in by password."""

    @sessions.contract(
        summary="Sign in with a password",
        access=anyone,
        body=SignInRequest,
        data=TokensResponse,
        limits=[SIGN_INS],
        errors=[CredentialsRejected, TooManyAttempts, CrossSite],
    )
    def post(self, body: SignInRequest) -> Tokens:
        context = session_cookies.sign_in_context(body.transport)
        password = body.password.get_secret_value()
        return session_cookies.signed_in(
            services().sign_in.by_password(email=body.email, password=password, context=context)
        )


@sessions.route("/sign_in/send_code")
class SendSignInCode(Resource):
    """Codes to sign in with."""

    @sessions.under(code_request(summary="Send a code to sign in with"))
    def post(self, body: AddressRequest) -> None:
        SIGN_IN.issue(
            services().sign_in.send_code(email=body.email, ticket=SIGN_IN.presented(), network=client_network())
        )


@sessions.route("/sign_in/code")
class CodeSignIn(Resource):
    """Sign-in by mailed code."""

    @sessions.contract(
        summary="Sign in with the code from the newest email",
        access=anyone,
        body=CodeSignInRequest,
        data=TokensResponse,
        limits=[SIGN_INS],
        errors=[CredentialsRejected, CrossSite, RedisUnavailable],
    )
    def post(self, body: CodeSignInRequest) -> Tokens:
        context = session_cookies.sign_in_context(body.transport)
        return session_cookies.signed_in(
            services().sign_in.by_code(email=body.email, code=body.code, ticket=SIGN_IN.presented(), context=context)
        )


@sessions.route("/refresh_token")
class RefreshToken(Resource):
    """Exchange of refresh tokens."""

    @sessions.contract(
        summary="Exchange a refresh token for the next pair of tokens",
        description=(
            "Concurrent requests and lost answers: for 30 seconds, while its successor is unused, the same "
            "refresh token returns the same successor. Reuse after that revokes the session."
        ),
        access=anyone,
        body=RefreshRequest,
        data=TokensResponse,
        limits=[REFRESHES],
        errors=[RefreshRejected, CrossSite],
    )
    def post(self, body: RefreshRequest) -> Tokens:
        presented = session_cookies.presented_refresh_token(body.refresh_token)
        tokens = services().sessions.refresh(token=presented.token, client=client_info())
        return session_cookies.delivered(tokens, transport=presented.transport)


@sessions.route("/sign_out")
class SignOut(Resource):
    """Sign-out."""

    @sessions.contract(summary="Revoke this session", done=True)
    def post(self) -> None:
        services().sessions.sign_out(caller(), client=client_info())
        session_cookies.take_back()


@sessions.route("/sign_out/everywhere")
class SignOutEverywhere(Resource):
    """Sign-out on all devices."""

    @sessions.contract(summary="Revoke all sessions of the account, including this one", done=True)
    def post(self) -> None:
        services().my_sessions.revoke_all(caller(), client=client_info())
        session_cookies.take_back()


@sessions.route("/me/sessions")
class MySessions(Resource):
    """All sessions of the caller."""

    @sessions.contract(
        summary="List the active sessions of the account, newest first",
        description="Send `next_cursor` as `cursor` to get the next page; it is null on the last one.",
        query=PageQuery,
        items=SessionResponse,
    )
    def get(self, query: PageQuery) -> Page[OpenSession]:
        return services().my_sessions.page(caller(), cursor=query.cursor, limit=query.limit)

    @sessions.contract(summary="Revoke all sessions of the account except this one", done=True)
    def delete(self) -> None:
        services().my_sessions.end_others(caller(), client=client_info())


@sessions.route("/me/sessions/<uuid:session_id>")
class MySession(Resource):
    """One session of the caller."""

    @sessions.contract(summary="Revoke one session of the account", done=True, errors=[SessionUnknown])
    def delete(self, session_id: uuid.UUID) -> None:
        services().my_sessions.end(session_id, current_user=caller(), client=client_info())
