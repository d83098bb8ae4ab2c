"""Factories of the email services: outbox, delivery by the mail worker, mail transport (SMTP or dev inbox)."""

from auth_service.adapters.crypto.keys import Sealer
from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.transport import MailTransport
from auth_service.services.audit.events import AuditLog
from auth_service.services.email.delivery import Delivery
from auth_service.services.email.outbox import UNLIMITED, Outbox
from auth_service.services.email.outbox_search import OutboxSearch
from auth_service.services.email.queue import MailQueue
from auth_service.services.pagination import Cursors
from auth_service.settings import Settings


def outbox(settings: Settings, sealer: Sealer) -> Outbox:
    """Build the outbox, which stores emails in the transaction that causes them."""
    return Outbox(
        sealer=sealer,
        codes_a_day=settings.limit_codes_a_day if settings.rate_limits == "on" else UNLIMITED,
    )


def outbox_search(audit_log: AuditLog, cursors: Cursors) -> OutboxSearch:
    """Build the outbox as administrators see it."""
    return OutboxSearch(audit_log=audit_log, cursors=cursors)


def delivery(settings: Settings, sealer: Sealer) -> Delivery:
    """Build the delivery of emails from the outbox."""
    return Delivery(
        queue=MailQueue(
            sealer=sealer,
            lease=settings.outbox_lease_seconds,
            longest_sending=settings.mail_timeout_seconds,
        ),
        sender=settings.sender,
        service_name=settings.service_name,
    )


def dev_inbox(settings: Settings) -> DevInbox | None:
    """Build the dev inbox; None if emails are sent by SMTP."""
    return DevInbox(settings.inbox_dir) if settings.inbox_dir else None


def mail_transport(settings: Settings) -> MailTransport:
    """Build the transport that sends emails. All sending threads share it."""
    if (inbox := dev_inbox(settings)) is not None:
        return inbox
    if settings.smtp_url is None:
        raise ValueError("the settings name neither SMTP_URL nor a dev inbox")
    return SmtpTransport(settings.smtp_url.get_secret_value(), timeout=settings.mail_timeout_seconds)
