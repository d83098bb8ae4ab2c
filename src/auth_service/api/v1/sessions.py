"""Signing in, staying signed in, and ending it."""

import uuid

from flask_restx import Resource

from auth_service.api import session_cookies
from auth_service.api.access import anyone, caller
from auth_service.api.contract import Namespace
from auth_service.api.limits import PerClient, client_network
from auth_service.api.origin import origin
from auth_service.api.tickets import SIGN_IN
from auth_service.api.v1.schemas.pages import PageQuery
from auth_service.api.v1.schemas.sessions import (
    AddressForm,
    CodeSignInForm,
    RefreshForm,
    SessionCard,
    SignInForm,
    TokensCard,
)
from auth_service.api.wired import services
from auth_service.errors import (
    CredentialsRejected,
    CrossSite,
    RedisAway,
    RefreshRejected,
    SessionUnknown,
    TooManyAttempts,
    TooManyCodes,
)
from auth_service.services.own_sessions import OpenSession
from auth_service.services.pages import Page
from auth_service.services.sessions import Tokens

sessions = Namespace("sessions", description="Signing in, staying signed in, and ending it.")

CODES_FOR_ANYONE = {
    "access": anyone,
    "body": AddressForm,
    "done": True,
    "limits": [PerClient(setting="limit_code_requests")],
    "refuses": [TooManyCodes, RedisAway],
}
"""To ask for a code by an address, of whoever it is: recovery has the same terms, so that it does not tell more."""


@sessions.route("/sign_in")
class SignIn(Resource):
    """Sign-in by password."""

    @sessions.contract(
        access=anyone,
        body=SignInForm,
        data=TokensCard,
        limits=[PerClient(setting="limit_sign_ins")],
        refuses=[CredentialsRejected, TooManyAttempts, CrossSite],
    )
    def post(self, body: SignInForm) -> Tokens:
        """Sign in with a password."""
        context = session_cookies.sign_in_context(body.transport)
        password = body.password.get_secret_value()
        return session_cookies.signed_in(
            services().sign_in.by_password(email=body.email, password=password, context=context)
        )


@sessions.route("/sign_in/send_code")
class SendSignInCode(Resource):
    """Codes to sign in with."""

    @sessions.contract(**CODES_FOR_ANYONE)
    def post(self, body: AddressForm) -> None:
        """Mail a code to sign in with; the answer does not tell whether there is somebody with this address."""
        SIGN_IN.hand_out(
            services().sign_in.send_code(email=body.email, ticket=SIGN_IN.presented(), network=client_network())
        )


@sessions.route("/sign_in/code")
class CodeSignIn(Resource):
    """Sign-in by mailed code."""

    @sessions.contract(
        access=anyone,
        body=CodeSignInForm,
        data=TokensCard,
        limits=[PerClient(setting="limit_sign_ins")],
        refuses=[CredentialsRejected, CrossSite, RedisAway],
    )
    def post(self, body: CodeSignInForm) -> Tokens:
        """Sign in with the code from the newest letter."""
        context = session_cookies.sign_in_context(body.transport)
        return session_cookies.signed_in(
            services().sign_in.by_code(email=body.email, code=body.code, ticket=SIGN_IN.presented(), context=context)
        )


@sessions.route("/refresh_token")
class RefreshToken(Resource):
    """Exchange of refresh tokens."""

    @sessions.contract(
        access=anyone,
        body=RefreshForm,
        data=TokensCard,
        limits=[PerClient(setting="limit_refreshes")],
        refuses=[RefreshRejected, CrossSite],
    )
    def post(self, body: RefreshForm) -> Tokens:
        """Exchange a refresh token for the next pair.

        Two tabs may ask at once, and an answer may get lost: for 30 seconds, while its successor is unused, the same
        token gives the same successor. Brought again after that it ends the session.
        """
        presented = session_cookies.presented_refresh_token(body.refresh_token)
        tokens = services().sessions.refresh(token=presented.token, origin=origin())
        return session_cookies.delivered(tokens, transport=presented.transport)


@sessions.route("/sign_out")
class SignOut(Resource):
    """Sign-out."""

    @sessions.contract(done=True)
    def post(self) -> None:
        """End this session."""
        services().sessions.sign_out(caller(), origin=origin())
        session_cookies.take_back()


@sessions.route("/sign_out/everywhere")
class SignOutEverywhere(Resource):
    """Sign-out on all devices."""

    @sessions.contract(done=True)
    def post(self) -> None:
        """End all my sessions, this one too."""
        services().own_sessions.end_all(caller(), origin=origin())
        session_cookies.take_back()


@sessions.route("/me/sessions")
class MySessions(Resource):
    """All sessions of the caller."""

    @sessions.contract(query=PageQuery, items=SessionCard)
    def get(self, query: PageQuery) -> Page[OpenSession]:
        """List my living sessions, the newest first.

        `next_cursor` asks for the page that follows, and is null on the last one.
        """
        return services().own_sessions.page(caller(), cursor=query.cursor, limit=query.limit)

    @sessions.contract(done=True)
    def delete(self) -> None:
        """End all my sessions but this one."""
        services().own_sessions.end_others(caller(), origin=origin())


@sessions.route("/me/sessions/<uuid:session_id>")
class MySession(Resource):
    """One session of the caller."""

    @sessions.contract(done=True, refuses=[SessionUnknown])
    def delete(self, session_id: uuid.UUID) -> None:
        """End one of my sessions."""
        services().own_sessions.end(session_id, caller=caller(), origin=origin())
