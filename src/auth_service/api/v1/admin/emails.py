"""Email outbox for administrators: list emails, retry one that waits."""

import uuid

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authorization import caller, permission
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_READS, ADMIN_WRITES
from auth_service.api.v1.schemas.admin.emails import EmailResponse, EmailsQuery
from auth_service.errors import MailEnded, MailUnknown
from auth_service.models.permission import Permission
from auth_service.services.email.outbox_search import ListedEmail
from auth_service.services.pagination import Page

admin_emails = Namespace("email administration", description="Emails that wait or have ended, without their contents.")


@admin_emails.route("/mail")
class AdminEmails(Resource):
    """All emails of the outbox."""

    @admin_emails.contract(
        operation="list_emails",
        summary="List the emails of the outbox, newest first",
        description="Contents and recipients are not shown. Records of ended emails are deleted after their retention.",
        access=permission(Permission.MAIL_READ),
        query=EmailsQuery,
        items=EmailResponse,
        limits=[ADMIN_READS],
    )
    def get(self, query: EmailsQuery) -> Page[ListedEmail]:
        return services().outbox_search.page(state=query.state, caller=caller(), cursor=query.cursor, limit=query.limit)


@admin_emails.route("/mail/<uuid:message_id>/retry")
class AdminEmailRetry(Resource):
    """Retry of an email."""

    @admin_emails.contract(
        operation="retry_email",
        summary="Make a waiting email due now",
        description=(
            "A mail worker tries it at once, instead of after the pause that follows a failed attempt. An email that "
            "has ended cannot be sent again, because its content is erased."
        ),
        access=permission(Permission.MAIL_WRITE),
        data=EmailResponse,
        limits=[ADMIN_WRITES],
        errors=[MailUnknown, MailEnded],
    )
    def post(self, message_id: uuid.UUID) -> ListedEmail:
        return services().outbox_search.retry(message_id, caller=caller(), client=client_info())
