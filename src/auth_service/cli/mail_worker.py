"""Mail worker (`MailWorker`): claims emails of the outbox, sends them from several threads, survives every fault."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import Counter

from auth_service import clock
from auth_service.adapters.email.transport import MailTransport
from auth_service.errors import Unavailable
from auth_service.services.email.delivery import Delivery
from auth_service.services.email.queue import ClaimedMessage

log = logging.getLogger(__name__)

IDLE = timedelta(milliseconds=300)
"""The pause before the next look into the outbox when nothing was due."""

REST = timedelta(seconds=1)
"""The pause when the database is unreachable."""

EXPIRE_EVERY = timedelta(seconds=5)
LEASED_PER_SENDER = 4

OUTCOMES = Counter("auth_letters", "Emails that this mail worker processed, by outcome.", ["outcome"])


@dataclass(frozen=True, kw_only=True)
class MailWorker:
    """One mail worker: a thread that claims emails, and some that send them.

    It claims few more emails than it has threads, so that one slow recipient does not delay emails that another worker
    could send.
    """

    enter: Callable[[], AbstractContextManager[Any]]
    """Enters the context in which the database can be used, in each thread."""
    delivery: Delivery
    transport: MailTransport
    senders: int
    stop: threading.Event

    def run(self) -> None:
        """Deliver until `stop` is set; then finish the emails that are being sent and release the other claims."""
        under_way: dict[Future[None], ClaimedMessage] = {}
        expire_at = clock.monotonic()
        log.info("the mail worker has started")
        with ThreadPoolExecutor(self.senders, thread_name_prefix="sender") as pool:
            while not self.stop.is_set():
                if clock.monotonic() >= expire_at:
                    self._survive(self.delivery.expire_due)
                    expire_at = clock.monotonic() + EXPIRE_EVERY.total_seconds()
                room = self.senders * LEASED_PER_SENDER - len(under_way)
                leased = self._lease(room) if room >= self.senders else []
                for letter in leased:
                    under_way[pool.submit(self._send, letter)] = letter
                if not leased:
                    self._pause(under_way)
                for done in [future for future in under_way if future.done()]:
                    del under_way[done]
            not_tried = [letter for future, letter in under_way.items() if future.cancel()]
            self._survive(lambda: self.delivery.release(not_tried))
        log.info("the mail worker has stopped", extra={"released": len(not_tried)})

    def _pause(self, under_way: dict[Future[None], ClaimedMessage]) -> None:
        """Wait until a thread is free, or until it is time for the next look into the outbox."""
        if under_way:
            wait(under_way, timeout=IDLE.total_seconds(), return_when=FIRST_COMPLETED)
        else:
            self.stop.wait(IDLE.total_seconds())

    def _lease(self, at_most: int) -> list[ClaimedMessage]:
        leased: list[ClaimedMessage] = []
        if not self._survive(lambda: leased.extend(self.delivery.lease(at_most=at_most))):
            self.stop.wait(REST.total_seconds())
        return leased

    def _send(self, letter: ClaimedMessage) -> None:
        if self.stop.is_set():
            self._survive(lambda: self.delivery.release([letter]))
        else:
            self._survive(lambda: self._deliver(letter))

    def _deliver(self, letter: ClaimedMessage) -> None:
        OUTCOMES.labels(self.delivery.deliver(letter, transport=self.transport)).inc()

    def _survive(self, work: Callable[[], None]) -> bool:
        """Run `work` and report whether it succeeded. What failed is tried again when its lease ends."""
        try:
            with self.enter():
                work()
        except Unavailable as away:
            log.warning("the mail worker waits for a dependency", extra={"trouble": away.code})
        except Exception:
            log.exception("a step of the mail worker failed")
        else:
            return True
        return False
