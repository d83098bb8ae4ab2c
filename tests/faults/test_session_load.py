"""Too many at once: three hundred passwords, and new keys in the middle of everything."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from tests.faults.account_client import Member, Pair, kid_in, session_of
from tests.faults.client import Answer, Unanswered, good
from tests.faults.fault_injection import nothing_waits, rotated
from tests.faults.ledger import LATEST, Aftermath, Ledger
from tests.faults.prepared_requests import p99, signed_in
from tests.faults.programs import wait_until
from tests.faults.service import Service
from tests.faults.session_invariants import SessionLaws

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DURABLE = True
PASSWORD = "correct horse battery"
HASH_MIB = 19
ROOM_MIB = 60
"""What a worker may grow by besides: three hundred connections, and whatever it had not used before."""


def test_pw6_three_hundred_passwords_at_once_cost_memory_for_a_few(
    service: Service, report: Callable[[str], None]
) -> None:
    ada = service.member("ada", password=PASSWORD)
    pair = signed_in(ada, PASSWORD)
    workers = service.workers()
    before = {pid: memory_mib(pid, "VmRSS") for pid in workers}
    over = Event()

    def refresh() -> list[Answer | None]:
        answers: list[Answer | None] = []
        newest = pair
        while not over.is_set():
            answer = answered(partial(ada.refresh, newest.refresh))
            answers.append(answer)
            newest = Pair.of(answer) or newest
        return answers

    def sign_in(number: int) -> Answer | None:
        stranger = Member(service.port, f"stranger-{number}-{os.getpid()}@example.org")
        return answered(partial(stranger.sign_in, PASSWORD))

    with ThreadPoolExecutor(301) as pool:
        refreshing = pool.submit(refresh)
        began = time.monotonic()
        answers = list(pool.map(sign_in, range(300)))
        seconds = time.monotonic() - began
        over.set()

    told = [answer for answer in answers if answer is not None]
    judged = [answer for answer in told if answer.status == 401]
    sent_away = [answer for answer in told if answer.status == 503]
    assert len(judged) + len(sent_away) == 300, Counter(answer and answer.status for answer in answers)
    assert judged
    assert max(answer.seconds for answer in told) < LATEST
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in sent_away)
    assert service.workers() == workers
    grown = {pid: memory_mib(pid, "VmHWM") - before[pid] for pid in workers}
    hashes_at_once = 2
    assert max(grown.values()) < hashes_at_once * HASH_MIB + ROOM_MIB
    refreshed = [answer for answer in refreshing.result() if answer is not None]
    assert {answer.status for answer in refreshed} == {200}
    assert len(refreshed) == len(refreshing.result())
    good(lambda: ada.sign_in(PASSWORD))
    report(
        f"300 sign-ins in {seconds:.1f} s: {len(judged)} judged, {len(sent_away)} sent away, the slowest answer after "
        f"{max(answer.seconds for answer in told):.1f} s; a worker grew by {max(grown.values()):.0f} MiB at most; "
        f"{len(refreshed)} refreshes meanwhile, p99 {p99(refreshed):.2f} s"
    )


def answered(request: Callable[[], Answer]) -> Answer | None:
    """The answer, unless the client gave up waiting for it."""
    with suppress(Unanswered):
        return request()
    return None


def memory_mib(pid: int, name: str) -> float:
    """How much memory a process has (VmRSS), or had at most (VmHWM), in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("times", [pytest.param(1, id="short"), pytest.param(10, id="long", marks=pytest.mark.chaos)])
def test_tk7_new_keys_in_the_middle_of_everything_refuse_nobody(
    times: int, service: Service, report: Callable[[str], None]
) -> None:
    ledger = Ledger()
    people = [service.member(f"steady-{number}", password=PASSWORD, note=ledger.note) for number in range(3)]
    over = Event()

    def stay(member: Member) -> Sequence[str]:
        pairs = [signed_in(member, PASSWORD)]
        while not over.is_set():
            good(lambda: member.me(pairs[0].access))
            good(lambda: member.me(pairs[-1].access))
            pair = Pair.of(good(lambda: member.refresh(pairs[-1].refresh)))
            assert pair is not None
            pairs.append(pair)
        return [pair.access for pair in pairs]

    with ThreadPoolExecutor(len(people)) as pool:
        staying = [pool.submit(stay, member) for member in people]
        try:
            took = [rotated(service) for _ in range(times)]
            # Every process has read the keys again after this long.
            time.sleep(5.5)
        finally:
            over.set()
    tokens = [token for each in staying for token in each.result()]
    published = {key["kid"] for key in service.get("/.well-known/jwks.json").json["keys"]}

    signed_by = Counter(kid_in(token) for token in tokens)
    assert len(signed_by) >= 2
    assert signed_by.keys() <= published
    wait_until(lambda: nothing_waits(service), within=60, what="every letter was dealt with", every=0.2)
    assert Aftermath.of(service, ledger).broken_laws() == []
    assert SessionLaws.of(service, ledger).broken_laws() == []
    assert len({session_of(token) for token in tokens}) == len(people)
    report(
        f"{len(ledger.entries)} requests, {len(tokens)} tokens signed by {len(signed_by)} keys, none refused; "
        f"a rotation took {max(took):.1f} s"
    )
