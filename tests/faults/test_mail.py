"""The mail server is away, slow or hostile: the API does not notice, and every letter arrives or ends for a reason."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.faults.client import CurrentUser, good
from tests.faults.programs import wait_until
from tests.faults.service import Service
from tests.support.smtp_sink_message import Mode

pytestmark = pytest.mark.slow

UNAFFECTED = 0.5
"""Seconds; what most answers stay below even on a busy machine. A letter may take a second."""


@pytest.fixture(autouse=True)
def _friendly_again(service: Service) -> None:
    service.sink.mode = "normal"
    service.sink.modes.clear()


def crowd(service: Service, number: int, *, port: int | None = None) -> list[CurrentUser]:
    """Many to whom a code is on its way."""
    people = [service.caller("crowd") for _ in range(number)]

    def ask_for_code(caller: CurrentUser) -> None:
        caller.port = port or caller.port
        good(caller.sign_up)
        good(caller.send_code)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask_for_code, people))
    return people


def letters_each(service: Service, people: list[CurrentUser]) -> set[int]:
    """How many letters came for each of these."""
    times = Counter(recipient for letter in service.sink.messages for recipient in letter.recipients)
    return {times[each.email] for each in people}


def ends(service: Service, people: list[CurrentUser]) -> list[str]:
    """The states of the first letter to each."""
    return [service.letters(each.email)[0][0] for each in people]


def finish(service: Service, caller: CurrentUser) -> None:
    good(lambda: caller.mail(service.code_for(caller)))
    good(caller.finish)


@pytest.mark.parametrize(
    ("mode", "trouble"),
    [("refuse", "refused the connection"), ("4xx", "451"), ("tarpit", "took too long")],
)
def test_letters_wait_for_a_server_that_does_not_take_them(
    mode: Mode, trouble: str, service: Service, report: Callable[[str], None]
) -> None:
    service.sink.mode = mode
    people = [service.caller("patient") for _ in range(5)]
    answers = [good(step) for each in people for step in (each.sign_up, each.send_code, each.look_up)]
    wait_until(
        lambda: all(trouble in (service.letters(each.email)[0][2] or "") for each in people),
        within=10,
        what="every letter was tried",
    )

    service.sink.mode = "normal"
    back = time.monotonic()
    for each in people:
        finish(service, each)

    assert statistics.median(answer.seconds for answer in answers) < UNAFFECTED
    assert ends(service, people) == ["sent"] * 5
    assert letters_each(service, people) == {1}
    report(f"all letters came within {time.monotonic() - back:.1f} s after the server was back")


def test_a_refused_letter_is_dead_and_the_next_one_goes_out(service: Service) -> None:
    service.sink.mode = "5xx"
    [caller] = crowd(service, 1)
    wait_until(lambda: service.letters(caller.email)[0][0] == "dead", within=10, what="the letter is dead")
    assert service.letters(caller.email) == [("dead", 1, "550 recipient not accepted")]
    assert service.sql("SELECT payload FROM letters WHERE recipient = %s", caller.email) == [(None,)]

    service.sink.mode = "normal"
    good(caller.resend_code)
    finish(service, caller)


def test_a_letter_whose_receipt_got_lost_comes_again_under_the_same_id(service: Service) -> None:
    service.sink.mode = "drop after DATA"
    [caller] = crowd(service, 1)
    service.sink.wait_for(1, to=caller.email)
    service.sink.mode = "normal"
    letters = service.sink.wait_for(2, to=caller.email)

    assert len({letter.message_id for letter in letters}) == 1
    assert len({letter.raw for letter in letters}) == 1
    finish(service, caller)
    assert service.letters(caller.email)[0][0] == "sent"


@pytest.fixture(scope="module")
def hasty(service: Service) -> Iterator[int]:
    """The port of an API whose codes live for two seconds."""
    with service.another_api(CODE_LIFETIME_SECONDS="2") as port:
        yield port


def test_a_code_past_its_life_is_never_sent(service: Service, hasty: int) -> None:
    service.sink.mode = "refuse"
    people = crowd(service, 5, port=hasty)
    wait_until(lambda: ends(service, people) == ["expired"] * 5, within=15, what="all are expired")
    service.sink.mode = "normal"

    for each in people:
        each.port = service.port
        good(each.resend_code)
        finish(service, each)
    assert letters_each(service, people) == {1}


def test_others_do_not_wait_behind_a_tarpit(service: Service, report: Callable[[str], None]) -> None:
    # As an installation has it that sets nothing: a letter may take fifteen seconds.
    service.restart_mailer(MAIL_TIMEOUT_SECONDS="15", OUTBOX_LEASE_SECONDS="60")
    slow = [service.caller("slow") for _ in range(3)]
    service.sink.modes |= {each.email: "tarpit" for each in slow}
    for each in slow:
        good(each.sign_up)
        good(each.send_code)
    wait_until(
        lambda: {each.email for each in slow} <= {to for _, to in service.sink.recipients}, within=10, what="all stuck"
    )

    asked: dict[str, float] = {}
    for _ in range(30):
        quick = service.caller("quick")
        good(quick.sign_up)
        good(quick.send_code)
        asked[quick.email] = time.time()
    wait_until(lambda: all(map(service.sink.to, asked)), within=10, what="the letters to everybody else")

    assert not any(service.sink.to(each.email) for each in slow)
    delays = sorted(service.sink.to(email)[0].at - at for email, at in asked.items())
    report(f"behind three tarpits: median {delays[15]:.2f} s, slowest {delays[-1]:.2f} s")
    service.sink.modes.clear()
    service.sink.hang_up()
    for each in slow:
        finish(service, each)


def test_a_code_whose_life_ends_while_its_letter_waits_for_a_hand_is_not_sent(service: Service, hasty: int) -> None:
    service.mailer.stop()
    people = crowd(service, 4, port=hasty)
    service.sink.modes |= {each.email: "tarpit" for each in people}
    service.mailer.start(MAIL_SENDERS="1", MAIL_TIMEOUT_SECONDS="4", OUTBOX_LEASE_SECONDS="60")
    wait_until(lambda: ends(service, people) == ["expired"] * 4, within=30, what="all are expired")

    assert len({to for _, to in service.sink.recipients} & {each.email for each in people}) <= 1
    assert service.sql("SELECT count(*) FROM letters WHERE state <> 'waiting' AND payload IS NOT NULL") == [(0,)]


@pytest.fixture(scope="module")
def two_mailers(service: Service) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Two mailers at work; what is called makes them pause, so that letters pile up."""
    settings = {"MAIL_TIMEOUT_SECONDS": "5", "OUTBOX_LEASE_SECONDS": "6"}
    service.restart_mailer(**settings)
    service.second_mailer.start(**settings)
    service.wait_until_mailing()

    @contextmanager
    def pausing() -> Iterator[None]:
        with service.mailer.frozen(), service.second_mailer.frozen():
            yield

    yield pausing
    assert service.second_mailer.stop() == 0


def test_two_mailers_send_each_letter_once(
    two_mailers: Callable[[], AbstractContextManager[None]], service: Service, report: Callable[[str], None]
) -> None:
    with two_mailers():
        people = crowd(service, 300)
    took = wait_until(lambda: nothing_waits(service), within=30, what="nothing waits")

    assert letters_each(service, people) == {1}
    report(f"300 letters by two mailers in {took:.1f} s")


def test_two_mailers_send_each_letter_once_also_to_a_slow_server(
    two_mailers: Callable[[], AbstractContextManager[None]], service: Service
) -> None:
    """Letters wait for a hand longer than their lease lasts: a worker that is late must not send them as well."""
    # Some fifty bytes of answers a letter: two seconds of the five that it may take, and four letters for each hand.
    service.sink.drip = 0.035
    with two_mailers():
        people = crowd(service, 32)
        service.sink.modes |= {each.email: "tarpit" for each in people}
    wait_until(lambda: nothing_waits(service), within=40, what="nothing waits")
    service.sink.drip = 1.0

    assert letters_each(service, people) == {1}


def nothing_waits(service: Service) -> bool:
    return not service.sql("SELECT id FROM letters WHERE state = 'waiting'")
