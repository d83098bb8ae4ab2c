"""The mailer's loop: lease, send with several hands, and outlive every fault of what it depends on."""

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
"""How long to wait before looking again when nothing was due."""

REST = timedelta(seconds=1)
"""How long to wait when the database is away."""

EXPIRE_EVERY = timedelta(seconds=5)
LEASED_PER_SENDER = 4

OUTCOMES = Counter("auth_letters", "Letters that the mailer dealt with.", ["outcome"])


@dataclass(frozen=True, kw_only=True)
class MailWorker:
    """One mailer: a thread that leases, and some that send.

    It holds few more leases than it has hands, so that one slow recipient does not keep letters that another mailer
    could send.
    """

    enter: Callable[[], AbstractContextManager[Any]]
    """Enters the context in which the database can be used, in each thread."""
    delivery: Delivery
    make_transport: Callable[[], MailTransport]
    senders: int
    stop: threading.Event

    def run(self) -> None:
        """Deliver until asked to stop; then finish what is being sent and give back the rest."""
        hands = threading.local()
        under_way: dict[Future[None], ClaimedMessage] = {}
        expire_at = clock.monotonic()
        log.info("the mailer is at work")
        with ThreadPoolExecutor(self.senders, thread_name_prefix="sender") as pool:
            while not self.stop.is_set():
                if clock.monotonic() >= expire_at:
                    self._survive(self.delivery.expire_due)
                    expire_at = clock.monotonic() + EXPIRE_EVERY.total_seconds()
                room = self.senders * LEASED_PER_SENDER - len(under_way)
                leased = self._lease(room) if room >= self.senders else []
                for letter in leased:
                    under_way[pool.submit(self._send, letter, hands)] = letter
                if not leased:
                    self._pause(under_way)
                for done in [future for future in under_way if future.done()]:
                    del under_way[done]
            not_tried = [letter for future, letter in under_way.items() if future.cancel()]
            self._survive(lambda: self.delivery.release(not_tried))
        log.info("the mailer has stopped", extra={"given_back": len(not_tried)})

    def _pause(self, under_way: dict[Future[None], ClaimedMessage]) -> None:
        """Wait for something to do: a free hand, or time for another look."""
        if under_way:
            wait(under_way, timeout=IDLE.total_seconds(), return_when=FIRST_COMPLETED)
        else:
            self.stop.wait(IDLE.total_seconds())

    def _lease(self, at_most: int) -> list[ClaimedMessage]:
        leased: list[ClaimedMessage] = []
        if not self._survive(lambda: leased.extend(self.delivery.lease(at_most=at_most))):
            self.stop.wait(REST.total_seconds())
        return leased

    def _send(self, letter: ClaimedMessage, hands: threading.local) -> None:
        if self.stop.is_set():
            self._survive(lambda: self.delivery.release([letter]))
        else:
            self._survive(lambda: self._deliver(letter, hands))

    def _deliver(self, letter: ClaimedMessage, hands: threading.local) -> None:
        if not hasattr(hands, "mail_transport"):
            hands.mail_transport = self.make_transport()
        OUTCOMES.labels(self.delivery.deliver(letter, mail_transport=hands.mail_transport)).inc()

    def _survive(self, work: Callable[[], None]) -> bool:
        """Do something that may fail, and say whether it was done; what was not, the end of a lease brings back."""
        try:
            with self.enter():
                work()
        except Unavailable as away:
            log.warning("the mailer waits for a dependency", extra={"trouble": away.code})
        except Exception:
            log.exception("the mailer stumbled")
        else:
            return True
        return False
