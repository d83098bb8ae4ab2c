"""Virtual users: they run a scenario during faults and retry what a fault interrupts."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.faults.client import NoResponse, RegistrationClient, Response
from tests.faults.ledger import Ledger
from tests.faults.service import Service

PROGRESS_TIMEOUT = 180.0
"""Seconds after which a user without success counts as stuck."""
EMAIL_TIMEOUT = 60.0
"""Seconds after which a user who waits for an email requests another one."""
MAX_WAITING_EMAILS = 20
"""The number of waiting emails above which users who only request codes pause."""


class NoProgress(Exception):
    """A user makes no progress in spite of retries."""


@dataclass(kw_only=True)
class VirtualUser:
    """A user who registers and retries through every fault."""

    service: Service
    ledger: Ledger
    client: RegistrationClient
    chance: random.Random
    give_up_at: float = field(default_factory=lambda: time.monotonic() + PROGRESS_TIMEOUT)
    tried_codes: set[str] = field(default_factory=set)

    def register(self) -> None:
        self.retry(self.client.look_up)
        # 409: the response to an earlier attempt was lost, and the address belongs to this user.
        if self.retry(self.client.sign_up).status == 409:
            self.retry(self.client.look_up)
        send = self.client.send_code
        while True:
            self.retry(send)
            if self.confirm() and self.finish():
                return
            send = self.client.resend_code

    def request_codes_only(self) -> None:
        """Request some codes and stop; pause while many emails wait, so that other users get theirs."""
        if self.retry(self.client.sign_up).status == 409:
            self.retry(self.client.look_up)
        for _ in range(5):
            while (
                self.ledger.acknowledged_emails - len(self.service.sink.messages) > MAX_WAITING_EMAILS
                and time.monotonic() < self.give_up_at
            ):
                time.sleep(0.05)
            self.retry(self.client.send_code)

    def confirm(self) -> bool:
        """Submit codes from the mailbox until one is accepted; false if a new code is necessary."""
        give_up_at = time.monotonic() + EMAIL_TIMEOUT
        while time.monotonic() < give_up_at:
            untried = [code for code in self.service.codes(self.client.email) if code not in self.tried_codes]
            if not untried:
                time.sleep(0.02)
                continue
            if self.chance.random() < 0.2:
                self.retry(lambda: self.client.confirm_email(f"{self.chance.randrange(10**6):06}"))
            submit = partial(self.client.confirm_email, untried[-1])
            self.tried_codes.add(untried[-1])
            response = self.retry(submit)
            if response.status == 200:
                if self.chance.random() < 0.3:
                    self.retry(submit)  # not accepted again: L3
                return True
            if response.code == "code_expired":
                return False
        return False

    def finish(self) -> bool:
        """Finish the registration; false if Redis lost the confirmation."""
        password = self.new_password() if self.chance.random() < 0.2 else None
        return self.finish_with(password)

    def finish_with(self, password: str | None) -> bool:
        """Finish with a password or without; false if Redis lost the confirmation."""
        response = self.retry(lambda: self.client.finish(password))
        if response.status != 200 and response.code != "mail_not_confirmed":
            raise NoProgress(f"finish: {response.status} {response.body!r}")
        return response.status == 200

    def new_password(self) -> str:
        return f"{self.client.email} {self.chance.random()}"

    def retry(self, request: Callable[[], Response]) -> Response:
        """Repeat a request until its response is not the result of a fault."""
        while time.monotonic() < self.give_up_at:
            try:
                response = request()
            except NoResponse:
                time.sleep(0.1)
                continue
            if response.status in (500, 503):  # The ledger records 500 as a violation.
                time.sleep(0.1)
            elif response.status == 429:
                raise NoProgress(f"{response.status} {response.body!r}")
            else:
                return response
        raise NoProgress(f"{self.client.email} made no progress for {PROGRESS_TIMEOUT} s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """The users who finished the scenario, and the errors of those who made no progress."""

    finished: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)


Scenario = Callable[[Service, Ledger, random.Random, int], str | None]
"""The actions of one virtual user, who runs in the thread with a number; returns the address on success."""


def registration_scenario(service: Service, ledger: Ledger, chance: random.Random, number: int) -> str | None:
    """Register; users in odd threads only request codes, so that emails are also queued while none is delivered."""
    client = service.registration_client("user", record=ledger.record)
    user = VirtualUser(service=service, ledger=ledger, client=client, chance=chance)
    if number % 2:
        user.request_codes_only()
        return None
    user.register()
    return client.email


@contextmanager
def running_users(service: Service, ledger: Ledger, scenario: Scenario, *, users: int, seed: int) -> Iterator[Outcomes]:
    """Run the scenario in `users` threads, one new user after another; at the end wait for the current ones."""
    over = threading.Event()
    outcomes = Outcomes()

    def repeat_scenario(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        while not over.is_set():
            try:
                if finished := scenario(service, ledger, chance, number):
                    outcomes.finished.append(finished)
            except NoProgress as error:
                outcomes.stuck.append(str(error))

    with ThreadPoolExecutor(users) as pool:
        runs: list[Future[None]] = [pool.submit(repeat_scenario, number) for number in range(users)]
        try:
            yield outcomes
        finally:
            over.set()
    for run in runs:
        run.result()
