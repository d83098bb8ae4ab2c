"""Login history endpoint: audit events of the current user."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authentication import current_user
from auth_service.api.v1.schemas.login_history import EventResponse
from auth_service.api.v1.schemas.pagination import PageQuery
from auth_service.services.audit.events import AuditEntry
from auth_service.services.pagination import Page

login_history = Namespace("history", description="Security events of the account.")


@login_history.route("/me/login_history")
class LoginHistory(Resource):
    """The audit events of the current user."""

    @login_history.contract(
        operation="list_my_events",
        summary="List the security events of the account, newest first, with failed attempts",
        description="Send `next_cursor` as `cursor` to get the next page; it is null on the last one.",
        query=PageQuery,
        items=EventResponse,
    )
    def get(self, query: PageQuery) -> Page[AuditEntry]:
        return services().audit_log.page(
            user_id=current_user().id, session_id=current_user().session_id, cursor=query.cursor, limit=query.limit
        )
