"""Order of the emails with codes: whatever workers do, no email is sent after one with a newer code of its slot."""

from collections.abc import Callable
from datetime import timedelta
from email.message import Message
from random import Random

import psycopg2
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth_service.adapters.email.transport import MailDeferred
from auth_service.db import unit_of_work
from auth_service.models.outbox_message import EmailKind
from auth_service.services.email.addresses import parse
from auth_service.services.email.outbox import CodePlace
from auth_service.services.email.queue import ClaimedMessage
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.stores import Stores

ADA = parse("ada@example.org")
SLOTS = (b"one browser", b"another browser")
Shuffle = Callable[[list[int]], None]
MOST_CODES = 10
"""The daily cap of an address."""


class Recorder:
    """A transport that records the codes of the emails that it sends, or defers them."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.fails = False

    def send(self, message: Message, *, to: str) -> None:
        """Send an email."""
        if self.fails:
            raise MailDeferred(reason="busy")
        self.sent.append(str(message["Subject"]).split()[0])


@pytest.fixture
def execute(stores: Stores) -> Callable[[str], None]:
    """Runs a statement in one connection, because a property runs many."""
    connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    connection.autocommit = True
    return lambda statement: connection.cursor().execute(statement)


class Queue:
    """The outbox of one user under random steps."""

    def __init__(
        self, services: Services, execute: Callable[[str], None], shuffle: Callable[[list[int]], None]
    ) -> None:
        self.services = services
        self.execute = execute
        self.shuffle = shuffle
        self.transport = Recorder()
        self.claimed: list[ClaimedMessage] = []
        self.numbers = dict.fromkeys(SLOTS, 0)
        self.user_id = 0

    def issue(self, choice: int) -> None:
        """Concurrent requests: the code store issues two codes, and the outbox gets them in any order."""
        if sum(self.numbers.values()) > MOST_CODES - 2:
            return
        slot = SLOTS[choice]
        order = [self.numbers[slot] + 1, self.numbers[slot] + 2]
        self.numbers[slot] += 2
        self.shuffle(order)
        for number in order:
            with unit_of_work():
                self.services.outbox.put_code(
                    kind=EmailKind.SIGN_IN_CODE,
                    to=ADA,
                    user_id=self.user_id,
                    language="en",
                    values={"code": f"{SLOTS.index(slot)}{number:05}", "minutes": 10},
                    ttl=timedelta(minutes=10),
                    place=CodePlace(slot=slot, number=number),
                )

    def claim(self, choice: int) -> None:
        """A mail worker claims some emails."""
        self.claimed.extend(self.services.delivery.claim(at_most=choice + 1))

    def send(self, choice: int) -> None:
        """A thread of a mail worker sends the first claimed email, or fails."""
        if self.claimed:
            self.transport.fails = choice == 1
            self.services.delivery.deliver(self.claimed.pop(0), transport=self.transport)

    def die(self, _: int) -> None:
        """All mail workers die, and the leases expire."""
        self.claimed.clear()
        self.execute("UPDATE letters SET lease_until = now() WHERE lease_until IS NOT NULL")

    def wait(self, _: int) -> None:
        """The pauses of deferred emails are over."""
        self.execute("UPDATE letters SET next_attempt_at = now() WHERE state = 'waiting'")

    def drain(self) -> None:
        """Send everything that still waits."""
        self.transport.fails = False
        for _ in range(4):
            self.die(0)
            self.wait(0)
            for message in self.services.delivery.claim(at_most=100):
                self.services.delivery.deliver(message, transport=self.transport)


STEPS = ("issue", "claim", "send", "die", "wait")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1)), min_size=4, max_size=14),
    random=st.randoms(use_true_random=False),
)
def test_no_email_is_sent_after_a_newer_one(
    app: Flask, services: Services, execute: Callable[[str], None], steps: list[tuple[str, int]], random: Random
) -> None:
    execute("DELETE FROM letters; DELETE FROM users")
    queue = Queue(services, execute, random.shuffle)
    queue.user_id = ApiClient(app).sign_up(ADA.stored)
    with app.app_context():
        for step, choice in steps:
            getattr(queue, step)(choice)
        queue.drain()

    for index, slot in enumerate(SLOTS):
        sent = [code for code in queue.transport.sent if code.startswith(str(index))]
        assert sent == sorted(sent), "an older code was sent after a newer one"
        if newest := queue.numbers[slot]:
            assert sent[-1] == f"{index}{newest:05}", "the newest code was sent"
