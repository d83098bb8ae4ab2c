"""Errors of the email outbox, as administrators see it."""

from auth_service.errors.base import Conflict, NotFound


class MailUnknown(NotFound):
    """The outbox has no email with this id; records of ended emails are deleted after their retention."""

    code = "mail_unknown"
    message = "No email has this id, or its record is deleted already; list the emails to get their ids."


class MailEnded(Conflict):
    """The email was sent, has expired or was rejected. Its content was erased then, so it cannot be sent again."""

    code = "mail_ended"
    message = "This email has ended and its content is erased; ask the user to request a new one."
