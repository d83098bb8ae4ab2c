"""Mail worker (`MailWorker`): claims emails of the outbox and sends them from several threads, despite faults."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import Message
from typing import Any

from prometheus_client import Counter

from auth_service import clock
from auth_service.adapters.email.transport import MailDeferred, MailTransport
from auth_service.errors import Unavailable
from auth_service.services.email.delivery import Delivery
from auth_service.services.email.queue import ClaimedMessage

log = logging.getLogger(__name__)

IDLE = timedelta(milliseconds=300)
"""The pause before the next query of the outbox if no email was due."""

PAUSE_AFTER_FAULT = timedelta(seconds=1)
"""The pause before the next query of the outbox after a query failed."""

PERIODIC_EVERY = timedelta(seconds=5)
"""How often the worker expires the emails whose content is no longer valid, and runs its other periodic tasks."""
CLAIMED_PER_SENDER = 4
"""Claimed emails for each sending thread at most, the emails that are being sent included."""

OUTCOMES = Counter("auth_letters", "Emails that this mail worker processed, by outcome.", ["outcome"])
TIMEOUTS = Counter(
    "auth_letters_timeouts",
    "Attempts of this mail worker that took too long, by the time limit: of one step or of the whole email.",
    ["limit"],
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedTransport:
    """A `MailTransport` that counts timeouts: the metric reveals a mail server that is too slow to get any email."""

    transport: MailTransport

    def send(self, message: Message, *, to: str) -> None:
        """Send the message. Raises MailDeferred, MailRefused."""
        try:
            self.transport.send(message, to=to)
        except MailDeferred as deferred:
            if deferred.timeout is not None:
                TIMEOUTS.labels(deferred.timeout).inc()
            raise


@dataclass(frozen=True, kw_only=True)
class MailWorker:
    """One mail worker: a thread that claims emails, and `senders` threads that send them.

    It claims only a few emails for each thread (CLAIMED_PER_SENDER), so that a slow recipient does not delay emails
    that another worker could send.
    """

    enter: Callable[[], AbstractContextManager[Any]]
    """Enters the context in which the database can be used, in each thread."""
    delivery: Delivery
    transport: MailTransport
    senders: int
    stop: threading.Event
    periodic: Sequence[Callable[[], None]] = ()
    """What else the worker does every PERIODIC_EVERY: work that emails have announced for a time."""
    _is_waiting: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    """Set while a dependency is unavailable, so that this is logged once, not with every attempt."""

    def run(self) -> None:
        """Deliver until `stop` is set; then finish the emails that are being sent and release the other claims."""
        in_flight: dict[Future[None], ClaimedMessage] = {}
        periodic_at = clock.monotonic()
        log.info("the mail worker has started")
        with ThreadPoolExecutor(self.senders, thread_name_prefix="sender") as pool:
            while not self.stop.is_set():
                if clock.monotonic() >= periodic_at:
                    for task in (self.delivery.expire_due, *self.periodic):
                        self._run_step(task)
                    periodic_at = clock.monotonic() + PERIODIC_EVERY.total_seconds()
                capacity = self.senders * CLAIMED_PER_SENDER - len(in_flight)
                claimed = self._claim(capacity) if capacity >= self.senders else []
                for email in claimed:
                    in_flight[pool.submit(self._send, email)] = email
                if not claimed:
                    self._pause(in_flight)
                for done in [future for future in in_flight if future.done()]:
                    del in_flight[done]
            not_sent = [email for future, email in in_flight.items() if future.cancel()]
            self._run_step(lambda: self.delivery.release(not_sent))
        log.info("the mail worker has stopped", extra={"released": len(not_sent)})

    def _pause(self, in_flight: dict[Future[None], ClaimedMessage]) -> None:
        """Wait until a thread is free, or until it is time to query the outbox again."""
        if in_flight:
            wait(in_flight, timeout=IDLE.total_seconds(), return_when=FIRST_COMPLETED)
        else:
            self.stop.wait(IDLE.total_seconds())

    def _claim(self, at_most: int) -> list[ClaimedMessage]:
        claimed: list[ClaimedMessage] = []
        if not self._run_step(lambda: claimed.extend(self.delivery.claim(at_most=at_most))):
            self.stop.wait(PAUSE_AFTER_FAULT.total_seconds())
        return claimed

    def _send(self, email: ClaimedMessage) -> None:
        if self.stop.is_set():
            self._run_step(lambda: self.delivery.release([email]))
        else:
            self._run_step(lambda: self._deliver(email))

    def _deliver(self, email: ClaimedMessage) -> None:
        OUTCOMES.labels(self.delivery.deliver(email, transport=CountedTransport(transport=self.transport))).inc()

    def _run_step(self, work: Callable[[], None]) -> bool:
        """Run `work` and log its error; return whether it succeeded. Emails of a failed step stay claimed (lease)."""
        try:
            with self.enter():
                work()
        except Unavailable as error:
            if not self._is_waiting.is_set():
                self._is_waiting.set()
                log.warning("the mail worker waits for a dependency", extra={"error": error.code})
        except Exception:
            log.exception("a step of the mail worker failed")
        else:
            if self._is_waiting.is_set():
                self._is_waiting.clear()
                log.info("the mail worker goes on")
            return True
        return False
