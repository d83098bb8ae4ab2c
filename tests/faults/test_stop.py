"""Stopping under load: balancers are warned first, every accepted request is answered, and nothing is cut off."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg2
import pytest

from tests.faults.client import AuditEntry, CurrentUser, Unanswered
from tests.faults.programs import wait_until
from tests.faults.service import Service

pytestmark = pytest.mark.slow

CLIENTS = 6
HAIR = 0.05
"""Seconds. A connection that is made at the very moment at which the listener is closed may be cut: the kernel has no
way of closing a listener and taking what it has in one step."""


@dataclass(kw_only=True)
class Load:
    """People who register one after the other until nobody lets them in any more."""

    service: Service
    entries: list[AuditEntry] = field(default_factory=list)
    unanswered: list[tuple[float, str]] = field(default_factory=list)
    """When it was sent, and why nothing came back."""
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.is_set():
            caller = self.service.caller("hurried", note=self.entries.append)
            for step in (caller.look_up, caller.sign_up, caller.send_code, caller.look_up):
                began = time.monotonic()
                try:
                    step()
                except Unanswered as failure:
                    self.unanswered.append((began, failure.why))
                    self.over.set()
                    return


@contextmanager
def held_row(service: Service, caller: CurrentUser) -> Iterator[Callable[[], None]]:
    """Holds the row of a user, so that finishing waits; what is called lets go."""
    connection = psycopg2.connect(service.engines.database_url.replace("+psycopg2", ""))
    try:
        connection.cursor().execute("SELECT id FROM users WHERE id = %s FOR UPDATE", (caller.user_id,))
        yield connection.rollback
    finally:
        connection.close()


def test_a_stop_under_load_cuts_nobody_off(service: Service, report: Callable[[str], None]) -> None:
    waiting = service.confirmed("waiting")
    load = Load(service=service)
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        people = [pool.submit(load.run) for _ in range(CLIENTS)]
        wait_until(lambda: len(load.entries) > 50, within=10, what="there is load")

        asked = time.monotonic()
        service.api.ask_to_stop()
        warned = wait_until(lambda: service.status("/health/ready") == 503, within=1, what="it warns", every=0.01)
        with held_row(service, waiting) as let_go:
            time.sleep(max(0, asked + 0.85 - time.monotonic()))  # shortly before the listener is closed
            finishing = pool.submit(waiting.finish)
            wait_until(load.over.is_set, within=10, what="the listener is closed", every=0.001)
            served_on = time.monotonic() - asked
            let_go()
        finished = finishing.result()
        for user in people:
            user.result()
    status = service.api.wait(15)
    stopped = time.monotonic() - asked

    assert status == 0
    assert finished.status == 200
    assert served_on > 0.9  # DRAIN_SECONDS=1
    answers = [entry.answer.status for entry in load.entries if entry.answer]
    assert set(answers) <= {200, 201, 404}
    closing = min(sent for sent, why in load.unanswered if why == "refused")
    assert [why for sent, why in load.unanswered if why != "refused" and sent < closing - HAIR] == []
    report(
        f"warned after {warned:.2f} s, served on for {served_on:.2f} s, ended after {stopped:.2f} s; "
        f"{len(answers)} answered, {sum(why != 'refused' for _, why in load.unanswered)} cut off"
    )
