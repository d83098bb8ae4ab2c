"""Virtual users: they register whatever breaks meanwhile, and do about it what a person would do."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.faults.client import Answer, CurrentUser, Unanswered
from tests.faults.ledger import Ledger
from tests.faults.service import Service

LONGEST = 180.0
"""Seconds after which a registration that has not succeeded counts as stuck."""
LETTER_WITHIN = 60.0
"""Seconds after which a user who waits for a letter asks for another."""
MOST_WAITING = 20
"""Letters, beyond which those who only ask for them hold back."""


class Stuck(Exception):
    """A user makes no progress, however many attempts."""


@dataclass(kw_only=True)
class UserRecord:
    """One registration, carried on through every fault."""

    service: Service
    ledger: Ledger
    caller: CurrentUser
    chance: random.Random
    until: float = field(default_factory=lambda: time.monotonic() + LONGEST)
    tried: set[str] = field(default_factory=set)

    def register(self) -> None:
        self.persevere(self.caller.look_up)
        # An answer that got lost makes the next one say that the address is taken: by oneself.
        if self.persevere(self.caller.sign_up).status == 409:
            self.persevere(self.caller.look_up)
        ask = self.caller.send_code
        while True:
            self.persevere(ask)
            if self.confirm() and self.finish():
                return
            ask = self.caller.resend_code

    def ask_only(self) -> None:
        """Ask for some codes and go away; but not while many letters wait, or nobody else would get any."""
        if self.persevere(self.caller.sign_up).status == 409:
            self.persevere(self.caller.look_up)
        for _ in range(5):
            while (
                self.ledger.letters - len(self.service.sink.messages) > MOST_WAITING and time.monotonic() < self.until
            ):
                time.sleep(0.05)
            self.persevere(self.caller.send_code)

    def confirm(self) -> bool:
        """Bring codes from the mailbox until one is right; false when it takes a new one."""
        give_up_at = time.monotonic() + LETTER_WITHIN
        while time.monotonic() < give_up_at:
            fresh = [code for code in self.service.codes(self.caller.email) if code not in self.tried]
            if not fresh:
                time.sleep(0.02)
                continue
            if self.chance.random() < 0.2:
                self.persevere(lambda: self.caller.mail(f"{self.chance.randrange(10**6):06}"))
            bring = partial(self.caller.mail, fresh[-1])
            self.tried.add(fresh[-1])
            answer = self.persevere(bring)
            if answer.status == 200:
                if self.chance.random() < 0.3:
                    self.persevere(bring)  # which the ledger must not show as accepted again
                return True
            if answer.code == "code_expired":
                return False
        return False

    def finish(self) -> bool:
        """Finish; false when the confirmation was forgotten."""
        password = self.new_password() if self.chance.random() < 0.2 else None
        return self.finish_with(password)

    def finish_with(self, password: str | None) -> bool:
        """Finish with a password or without; false when the confirmation was forgotten."""
        answer = self.persevere(lambda: self.caller.finish(password))
        if answer.status != 200 and answer.code != "mail_not_confirmed":
            raise Stuck(f"finish: {answer.status} {answer.body!r}")
        return answer.status == 200

    def new_password(self) -> str:
        return f"{self.caller.email} {self.chance.random()}"

    def persevere(self, request: Callable[[], Answer]) -> Answer:
        """Repeat a request until an answer is not a consequence of a fault."""
        while time.monotonic() < self.until:
            try:
                answer = request()
            except Unanswered:
                time.sleep(0.1)
                continue
            if answer.status in (500, 503):  # The ledger tells of the former.
                time.sleep(0.1)
            elif answer.status == 429:
                raise Stuck(f"{answer.status} {answer.body!r}")
            else:
                return answer
        raise Stuck(f"{self.caller.email} did not get on for {LONGEST} s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fates:
    """What became of people."""

    finished: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)


Life = Callable[[Service, Ledger, random.Random, int], str | None]
"""What one virtual user after the other does, with the number of the place that they take; returns who got on."""


def user_registers(service: Service, ledger: Ledger, chance: random.Random, number: int) -> str | None:
    """Register; but every second one only asks for codes, so that there are letters also while nobody gets any."""
    caller = service.caller("person", note=ledger.note)
    user = UserRecord(service=service, ledger=ledger, caller=caller, chance=chance)
    if number % 2:
        user.ask_only()
        return None
    user.register()
    return caller.email


@contextmanager
def living(service: Service, ledger: Ledger, life: Life, *, people: int, seed: int) -> Iterator[Fates]:
    """Some people live one after the other, and finish what they began at the end."""
    over = threading.Event()
    fates = Fates()

    def live(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        while not over.is_set():
            try:
                if finished := life(service, ledger, chance, number):
                    fates.finished.append(finished)
            except Stuck as trouble:
                fates.stuck.append(str(trouble))

    with ThreadPoolExecutor(people) as pool:
        lives: list[Future[None]] = [pool.submit(live, number) for number in range(people)]
        try:
            yield fates
        finally:
            over.set()
    for each in lives:
        each.result()
