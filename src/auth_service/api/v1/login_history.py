"""History: what happened to the account of the caller."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authentication import caller
from auth_service.api.v1.schemas.login_history import EventResponse
from auth_service.api.v1.schemas.pagination import PageQuery
from auth_service.services.audit.events import AuditEntry
from auth_service.services.pagination import Page

history = Namespace("history", description="What happened to an account.")


@history.route("/me/login_history")
class LoginHistory(Resource):
    """The history of the caller."""

    @history.contract(
        summary="List the security events of the account, newest first, with failed attempts",
        description="Send `next_cursor` as `cursor` to get the next page; it is null on the last one.",
        query=PageQuery,
        items=EventResponse,
    )
    def get(self, query: PageQuery) -> Page[AuditEntry]:
        return services().history.page(
            user_id=caller().id, session_id=caller().session_id, cursor=query.cursor, limit=query.limit
        )
