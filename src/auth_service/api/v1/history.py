"""History: what happened to the account of the caller."""

from flask_restx import Resource

from auth_service.api.access import caller
from auth_service.api.contract import Namespace
from auth_service.api.v1.schemas.history import EventCard
from auth_service.api.v1.schemas.pages import PageQuery
from auth_service.api.wired import services
from auth_service.services.history import Entry
from auth_service.services.pages import Page

history = Namespace("history", description="What happened to an account.")


@history.route("/me/login_history")
class LoginHistory(Resource):
    """The history of the caller."""

    @history.contract(query=PageQuery, items=EventCard)
    def get(self, query: PageQuery) -> Page[Entry]:
        """List what happened to my account, the newest first, and what was tried in vain.

        `next_cursor` asks for the page that follows, and is null on the last one.
        """
        return services().history.page(
            user_id=caller().id, session_id=caller().session_id, cursor=query.cursor, limit=query.limit
        )
