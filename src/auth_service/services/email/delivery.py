"""Delivery: what the mailer does with one letter of the outbox."""

import logging
from dataclasses import dataclass
from email.message import EmailMessage

from auth_service import clock
from auth_service.adapters.crypto.keys import SealBroken
from auth_service.adapters.email.transport import MailDeferred, MailRefused, MailTransport
from auth_service.db import unit_of_work
from auth_service.services.email import rendering as letters
from auth_service.services.email.queue import ClaimedMessage, MailQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """Leases letters, hands them to the postman, and notes what became of them.

    Each step is a unit of work of its own, with nothing open while the mail server is talked to. Killed between the
    server's yes and the note of it, a letter goes out again under the same Message-ID; killed anywhere else, once.
    """

    leases: MailQueue
    sender: str
    service_name: str

    def lease(self, *, at_most: int) -> list[ClaimedMessage]:
        """Take letters that are due."""
        with unit_of_work():
            return self.leases.claim(at_most=at_most)

    def deliver(self, letter: ClaimedMessage, *, mail_transport: MailTransport) -> str:
        """Send one letter and note the outcome; returns it in a word: sent, deferred, dead or late.

        One that may not begin any more (`ClaimedMessage.begin_by`) is given back unsent.
        """
        if clock.monotonic() > letter.begin_by:
            self.release([letter])
            return "late"
        try:
            message = self._message(letter)
        except SealBroken:
            return self._dead(letter, trouble="sealed with another key")
        except ValueError:
            # It will not become a letter by being tried again; what it says may come from strangers.
            return self._dead(letter, trouble="cannot be written")
        try:
            mail_transport.send(message, to=letter.recipient)
        except MailDeferred as deferred:
            log.info("letter put off", extra={"letter": str(letter.id), "trouble": str(deferred)})
            with unit_of_work():
                self.leases.defer(letter, trouble=str(deferred))
            return "deferred"
        except MailRefused as refused:
            return self._dead(letter, trouble=str(refused))
        with unit_of_work():
            self.leases.mark_sent(letter)
        return "sent"

    def expire_due(self) -> None:
        """End the letters that are worth nothing any more."""
        with unit_of_work():
            self.leases.expire_due()

    def release(self, not_tried: list[ClaimedMessage]) -> None:
        """Give back what was leased and not tried."""
        with unit_of_work():
            self.leases.release(not_tried)

    def _dead(self, letter: ClaimedMessage, *, trouble: str) -> str:
        log.error("letter is dead", extra={"letter": str(letter.id), "trouble": trouble})
        with unit_of_work():
            self.leases.mark_dead(letter, trouble=trouble)
        return "dead"

    def _message(self, letter: ClaimedMessage) -> EmailMessage:
        return letters.render(
            letter.kind,
            letter.language,
            to=letter.recipient,
            sender=self.sender,
            message_id=f"<{letter.id}@{self.sender.rpartition('@')[2]}>",
            date=letter.created_at,
            values={"service": self.service_name, **self.leases.open_payload(letter)},
        )
