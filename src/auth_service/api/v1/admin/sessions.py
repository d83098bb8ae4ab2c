"""Sessions of a user for administrators: list and revoke."""

import uuid

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authentication import current_service, current_user
from auth_service.api.security.authorization import caller, permission
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_READS, ADMIN_WRITES
from auth_service.api.v1.schemas.pagination import PageQuery
from auth_service.api.v1.schemas.sessions import SessionResponse
from auth_service.errors import SessionUnknown, UserUnknown
from auth_service.models.permission import Permission
from auth_service.services.pagination import Page
from auth_service.services.sessions.my_sessions import OpenSession

admin_sessions = Namespace("session administration", description="Sessions of users, for administrators.")


def _current() -> uuid.UUID | None:
    """Return the session of the request; None if a service sends it."""
    return None if current_service() is not None else current_user().session_id


@admin_sessions.route("/users/<user_id:user_id>/sessions")
class AdminSessions(Resource):
    """All sessions of a user."""

    @admin_sessions.contract(
        operation="list_sessions_of_user",
        summary="List the active sessions of a user, newest first",
        description="As `GET /users/me/sessions`; `current` marks the session of this request.",
        access=permission(Permission.USERS_READ),
        query=PageQuery,
        items=SessionResponse,
        limits=[ADMIN_READS],
        errors=[UserUnknown],
    )
    def get(self, user_id: int, query: PageQuery) -> Page[OpenSession]:
        return services().user_sessions.page(
            user_id, caller=caller(), current=_current(), cursor=query.cursor, limit=query.limit
        )

    @admin_sessions.contract(
        operation="revoke_sessions_of_user",
        summary="Revoke all sessions of a user",
        description="The answer is the same if there is none. The session of this request stays.",
        access=permission(Permission.USERS_WRITE),
        done=True,
        limits=[ADMIN_WRITES],
        errors=[UserUnknown],
    )
    def delete(self, user_id: int) -> None:
        services().user_sessions.revoke_all(user_id, caller=caller(), current=_current(), client=client_info())


@admin_sessions.route("/users/<user_id:user_id>/sessions/<uuid:session_id>")
class AdminSession(Resource):
    """One session of a user."""

    @admin_sessions.contract(
        operation="revoke_session_of_user",
        summary="Revoke one session of a user",
        access=permission(Permission.USERS_WRITE),
        done=True,
        limits=[ADMIN_WRITES],
        errors=[UserUnknown, SessionUnknown],
    )
    def delete(self, user_id: int, session_id: uuid.UUID) -> None:
        services().user_sessions.revoke(user_id, session_id, caller=caller(), client=client_info())
