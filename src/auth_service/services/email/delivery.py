"""Email delivery: a mail worker renders and sends one message of the outbox, and records the outcome."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from email.utils import parseaddr

from auth_service import clock
from auth_service.adapters.crypto.keys import SealBroken
from auth_service.adapters.email.transport import MailDeferred, MailRefused, MailTransport
from auth_service.db import unit_of_work
from auth_service.services.email import rendering
from auth_service.services.email.queue import ClaimedMessage, MailQueue

log = logging.getLogger(__name__)

EXPIRY_BATCH = 500
"""Emails that one statement ends: few enough for its time limit, however many have expired."""

EXPIRY_TIME_LIMIT = timedelta(seconds=10)
"""How long one call ends expired emails: many expired emails must not delay the emails that are due."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """Delivery of emails: claims them, sends them through a `MailTransport`, and records the outcome.

    Each step is a unit of work of its own, and none is open while the mail server is contacted. A worker that is killed
    between the server's acceptance and its record sends the email again under the same Message-ID; killed at any other
    point, it sends the email once.
    """

    queue: MailQueue
    sender: str
    service_name: str

    def claim(self, *, at_most: int) -> list[ClaimedMessage]:
        """Claim emails that are due."""
        with unit_of_work():
            return self.queue.claim(at_most=at_most)

    def deliver(self, email: ClaimedMessage, *, transport: MailTransport) -> str:
        """Send one email and record the outcome, returned as one word: sent, deferred, dead, withdrawn or late.

        An email that was withdrawn after the claim, or whose code was replaced, is not sent. An email whose time to
        begin has passed (`ClaimedMessage.begin_by`) is released unsent.
        """
        if not self.queue.may_send(email):
            with unit_of_work():
                self.queue.withdraw(email)
            return "withdrawn"
        if clock.monotonic() > email.begin_by:
            self.release([email])
            return "late"
        try:
            message = self._message(email)
        except SealBroken:
            return self._dead(email, reason="sealed with another key")
        except ValueError:
            # A retry would fail the same way. The text of the error may contain what an anonymous client sent.
            return self._dead(email, reason="cannot be written")
        return self._send(message, email, transport=transport)

    def _send(self, message: Message, email: ClaimedMessage, *, transport: MailTransport) -> str:
        try:
            transport.send(message, to=email.recipient)
        except MailDeferred as deferred:
            log.info("email deferred", extra={"message_id": str(email.id), "reason": str(deferred)})
            with unit_of_work():
                self.queue.defer(email, reason=str(deferred))
            return "deferred"
        except MailRefused as refused:
            return self._dead(email, reason=str(refused))
        with unit_of_work():
            self.queue.mark_sent(email)
        return "sent"

    def expire_due(self) -> None:
        """End the emails whose content is no longer valid, in batches: the rest follows at the next call."""
        until = clock.monotonic() + EXPIRY_TIME_LIMIT.total_seconds()
        while clock.monotonic() < until:
            with unit_of_work():
                expired = self.queue.expire_due(at_most=EXPIRY_BATCH)
            if expired < EXPIRY_BATCH:
                break

    def release(self, not_tried: list[ClaimedMessage]) -> None:
        """Release claims of emails that were not tried."""
        with unit_of_work():
            self.queue.release(not_tried)

    def _dead(self, email: ClaimedMessage, *, reason: str) -> str:
        log.error("email is dead", extra={"message_id": str(email.id), "reason": reason})
        with unit_of_work():
            self.queue.mark_dead(email, reason=reason)
        return "dead"

    def _message(self, email: ClaimedMessage) -> Message:
        return rendering.render(
            email.kind,
            email.language,
            to=email.recipient,
            sender=self.sender,
            message_id=f"<{email.id}@{parseaddr(self.sender)[1].rpartition('@')[2]}>",
            date=email.created_at,
            values={"service": self.service_name, **self.queue.open_payload(email)},
        )
