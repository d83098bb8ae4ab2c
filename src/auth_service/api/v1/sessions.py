"""Session endpoints: refresh token rotation, sign-out, list and revocation of sessions."""

import uuid

from flask_restx import Resource

from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import anyone, current_user
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import REFRESHES
from auth_service.api.security.sign_out import session_holder, sign_out
from auth_service.api.v1.schemas.pagination import PageQuery
from auth_service.api.v1.schemas.sessions import RefreshRequest, SessionResponse, SignOutRequest
from auth_service.api.v1.schemas.sign_in import TokensResponse
from auth_service.api.v1.sign_in import sessions
from auth_service.errors import CrossSite, RefreshRejected, SessionUnknown
from auth_service.services.pagination import Page
from auth_service.services.sessions.my_sessions import OpenSession
from auth_service.services.sessions.sessions import Tokens

__all__ = ["sessions"]


@sessions.route("/refresh_token")
class RefreshToken(Resource):
    """Refresh token rotation."""

    @sessions.contract(
        operation="refresh_tokens",
        summary="Exchange a refresh token for the next pair of tokens",
        description=(
            "Concurrent requests and lost answers: for 30 seconds, while its successor is unused, the same "
            "refresh token returns the same successor. Reuse after that revokes the session."
        ),
        access=anyone,
        body=RefreshRequest,
        data=TokensResponse,
        reads_cookies=[session_cookies.REFRESH],
        sets_cookies=session_cookies.SESSION_COOKIES,
        limits=[REFRESHES],
        errors=[RefreshRejected, CrossSite],
    )
    def post(self, body: RefreshRequest) -> Tokens:
        presented = session_cookies.presented_refresh_token(body.refresh_token)
        with session_cookies.cleared_if_rejected(presented.transport):
            tokens = services().sessions.refresh(token=presented.token, client=client_info())
        return session_cookies.delivered(tokens, transport=presented.transport)


@sessions.route("/sign_out")
class SignOut(Resource):
    """Sign-out."""

    @sessions.contract(
        operation="sign_out",
        summary="Revoke this session",
        description="Deletes the session cookies.",
        access=session_holder,
        body=SignOutRequest,
        done=True,
        reads_cookies=[session_cookies.REFRESH],
        sets_cookies=session_cookies.SESSION_COOKIES,
    )
    def post(self, body: SignOutRequest) -> None:
        sign_out(body.refresh_token, revoke=services().sessions.sign_out)


@sessions.route("/sign_out/everywhere")
class SignOutEverywhere(Resource):
    """Sign-out on all devices."""

    @sessions.contract(
        operation="sign_out_everywhere",
        summary="Revoke all sessions of the account, including this one",
        description="Deletes the session cookies.",
        access=session_holder,
        body=SignOutRequest,
        done=True,
        reads_cookies=[session_cookies.REFRESH],
        sets_cookies=session_cookies.SESSION_COOKIES,
    )
    def post(self, body: SignOutRequest) -> None:
        sign_out(body.refresh_token, revoke=services().my_sessions.revoke_all)


@sessions.route("/me/sessions")
class MySessions(Resource):
    """All sessions of the current user."""

    @sessions.contract(
        operation="list_my_sessions",
        summary="List the active sessions of the account, newest first",
        description="Send `next_cursor` as `cursor` to get the next page; it is null on the last one.",
        query=PageQuery,
        items=SessionResponse,
    )
    def get(self, query: PageQuery) -> Page[OpenSession]:
        return services().my_sessions.page(current_user(), cursor=query.cursor, limit=query.limit)

    @sessions.contract(
        operation="revoke_my_other_sessions", summary="Revoke all sessions of the account except this one", done=True
    )
    def delete(self) -> None:
        services().my_sessions.revoke_others(current_user(), client=client_info())


@sessions.route("/me/sessions/<uuid:session_id>")
class MySession(Resource):
    """One session of the current user."""

    @sessions.contract(
        operation="revoke_my_session", summary="Revoke one session of the account", done=True, errors=[SessionUnknown]
    )
    def delete(self, session_id: uuid.UUID) -> None:
        services().my_sessions.revoke(session_id, current_user=current_user(), client=client_info())
