"""Graceful shutdown under load: readiness fails first, and every accepted request gets its response."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg2
import pytest

from tests.faults.client import NoResponse, RecordedRequest, RegistrationClient
from tests.faults.programs import wait_until
from tests.faults.service import Service

pytestmark = pytest.mark.slow

CLIENTS = 6
CLOSING_TOLERANCE = 0.05
"""Seconds. A connection that arrives while the listener is closed may be reset: the kernel cannot close a listener and
accept its pending connections in one step."""


@dataclass(kw_only=True)
class Load:
    """Clients that register one after the other until a connection fails."""

    service: Service
    entries: list[RecordedRequest] = field(default_factory=list)
    unanswered: list[tuple[float, str]] = field(default_factory=list)
    """When the request was sent, and why it got no response."""
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.is_set():
            client = self.service.registration_client("client", record=self.entries.append)
            for step in (client.look_up, client.sign_up, client.send_code, client.look_up):
                began = time.monotonic()
                try:
                    step()
                except NoResponse as error:
                    self.unanswered.append((began, error.cause))
                    self.over.set()
                    return


@contextmanager
def locked_row(service: Service, client: RegistrationClient) -> Iterator[Callable[[], None]]:
    """Lock the row of a user, so that the end of the registration waits; yields the function that releases it."""
    connection = psycopg2.connect(service.engines.database_url.replace("+psycopg2", ""))
    try:
        connection.cursor().execute("SELECT id FROM users WHERE id = %s FOR UPDATE", (client.user_id,))
        yield connection.rollback
    finally:
        connection.close()


def test_a_stop_under_load_interrupts_no_accepted_request(service: Service, report: Callable[[str], None]) -> None:
    waiting = service.confirmed_client("waiting")
    load = Load(service=service)
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        clients = [pool.submit(load.run) for _ in range(CLIENTS)]
        wait_until(lambda: len(load.entries) > 50, within=10, what="there is load")

        signalled = time.monotonic()
        service.api.request_stop()
        warned = wait_until(
            lambda: service.status("/health/ready") == 503, within=1, what="readiness fails", every=0.01
        )
        with locked_row(service, waiting) as release:
            time.sleep(max(0, signalled + 0.85 - time.monotonic()))  # shortly before the listener is closed
            finishing = pool.submit(waiting.finish)
            wait_until(load.over.is_set, within=10, what="the listener is closed", every=0.001)
            served_on = time.monotonic() - signalled
            release()
        finished = finishing.result()
        for future in clients:
            future.result()
    status = service.api.wait(15)
    stopped = time.monotonic() - signalled

    assert status == 0
    assert finished.status == 200
    assert served_on > 0.9  # DRAIN_SECONDS=1
    responses = [entry.response.status for entry in load.entries if entry.response]
    assert set(responses) <= {200, 201, 404}
    closing = min(sent for sent, cause in load.unanswered if cause == "refused")
    assert [cause for sent, cause in load.unanswered if cause != "refused" and sent < closing - CLOSING_TOLERANCE] == []
    report(
        f"readiness failed after {warned:.2f} s, served for {served_on:.2f} s, ended after {stopped:.2f} s; "
        f"{len(responses)} responses, {sum(cause != 'refused' for _, cause in load.unanswered)} interrupted"
    )
