"""E25: a crowd of people, each of whom does everything fifty times at once, and has done it once."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest

from tests.faults.account_client import Member, Pair
from tests.faults.account_invariants import AccountLaws
from tests.faults.client import Answer, good, persist
from tests.faults.fault_injection import nothing_waits
from tests.faults.ledger import Aftermath, Ledger
from tests.faults.programs import wait_until
from tests.faults.service import Service
from tests.faults.session_invariants import SessionLaws

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DURABLE = True
SETTINGS = {"LIMIT_CODES_A_DAY": "1000"}

PEOPLE = 400
"""How many there are in the long form: eleven minutes on two cores, where the 1,000 of the plan take half an hour."""
OF_ONE_LEDGER = 50
"""After so many people the laws are looked at and the ledger begins anew: all answers would fill the memory."""
SIDE_BY_SIDE = 6
"""How many people there are at the same time: while one waits for a letter, another one does something."""
AT_ONCE = 50
A_FEW = 10
NO_EFFECT = {401, 404, 409}
"""The session, the code or the account as it was is gone: the errors of a request that comes too late."""


def crowd(*acts: Callable[[], Answer], at_once: int = AT_ONCE) -> list[Counter[int]]:
    """The statuses of the answers to requests at the same moment, each of `acts` as often as the others."""
    barrier = Barrier(at_once)

    def together(number: int) -> int:
        barrier.wait()
        return persist(acts[number % len(acts)]).status

    with ThreadPoolExecutor(at_once) as pool:
        statuses = list(pool.map(together, range(at_once)))
    return [Counter(statuses[number :: len(acts)]) for number in range(len(acts))]


def fifty(act: Callable[[], Answer]) -> Counter[int]:
    """The statuses of the answers to the same request fifty times at once."""
    [statuses] = crowd(act)
    return statuses


def deadlocks(service: Service) -> int:
    return int(service.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0])


LONG_FORM = pytest.param(PEOPLE, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(7200)])


@pytest.mark.parametrize("people", [pytest.param(1, id="short"), LONG_FORM])
def test_e25_fifty_copies_of_each_request_have_one_effect(
    people: int, service: Service, report: Callable[[str], None]
) -> None:
    before = deadlocks(service)
    began = time.monotonic()
    requests = refused = 0
    slowest = 0.0
    outcomes: Counter[str] = Counter()
    for first in range(0, people, OF_ONE_LEDGER):
        ledger = Ledger()
        eager = [
            Member(service.port, service.new_address("eager"), note=ledger.note)
            for _ in range(min(OF_ONE_LEDGER, people - first))
        ]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            outcomes.update(pool.map(partial(live_fifty_times, service), eager))
        wait_until(partial(nothing_waits, service), within=60, what="every letter was dealt with", every=0.2)
        assert Aftermath.of(service, ledger).broken_laws() == []
        assert SessionLaws.of(service, ledger).broken_laws() == []
        accounts = AccountLaws.of(service, ledger)
        assert accounts.broken_laws() == []
        assert accounts.gone == {member.began_with for member in eager}
        requests, refused = requests + len(ledger.entries), refused + ledger.refused
        slowest = max(slowest, ledger.slowest)

    assert deadlocks(service) == before
    report(
        f"{people} people, {requests} requests in {time.monotonic() - began:.0f} s, {refused} refused by 503 and no "
        f"other 5xx, no deadlock; slowest answer {slowest:.2f} s; moving and leaving at once: {dict(outcomes)}"
    )


def live_fifty_times(service: Service, eager: Member) -> str:
    """Register, sign in and out, move, and leave, everything many times at once; returns who won the last race."""
    register_fifty_times(eager, service)
    sign_in_and_out_fifty_times(eager, service)
    good(eager.ask_to_sign_in)
    pair = Pair.of(good(lambda: eager.sign_in_by_code(service.code_for(eager, "sign_in_code", number=5))))
    assert pair is not None
    move_ten_times(eager, pair, service)
    return leave_ten_times(eager, pair, service)


def register_fifty_times(eager: Member, service: Service) -> None:
    """Sign up, confirm the address and finish, each fifty times at once."""
    assert fifty(eager.sign_up) == {201: 1, 409: AT_ONCE - 1}
    # The last answer may have been an error.
    good(eager.look_up)
    good(eager.send_code)
    code = service.code_for(eager)
    assert fifty(lambda: eager.mail(code)) == {200: 1, 404: AT_ONCE - 1}
    assert fifty(eager.finish) == {200: AT_ONCE}


def sign_in_and_out_fifty_times(eager: Member, service: Service) -> None:
    """Sign in by a code, refresh, end the other sessions, and sign out, each fifty times at once."""
    pairs = []
    for number in range(1, 4):
        good(eager.ask_to_sign_in)
        code = service.code_for(eager, "sign_in_code", number=number)
        if number == 1:
            assert fifty(partial(eager.sign_in_by_code, code)) == {200: 1, 401: AT_ONCE - 1}
            [[id_]] = service.sql(
                "SELECT s.id FROM sessions s JOIN users u ON u.id = user_id WHERE email = %s", eager.email
            )
            assert id_
        else:
            pair = Pair.of(good(partial(eager.sign_in_by_code, code)))
            assert pair is not None
            pairs.append(pair)
    for pair in pairs:
        assert fifty(partial(eager.refresh, pair.refresh)) == {200: AT_ONCE}

    # Each ends the other one: who comes later finds that it has ended itself.
    for statuses in crowd(*(partial(eager.end_others, pair.access) for pair in pairs)):
        assert set(statuses) <= {200, 401}
    good(eager.ask_to_sign_in)
    pair = Pair.of(good(lambda: eager.sign_in_by_code(service.code_for(eager, "sign_in_code", number=4))))
    assert pair is not None
    assert set(fifty(partial(eager.sign_out, pair.access))) <= {200, 401}
    assert persist(partial(eager.refresh, pair.refresh)).code == "refresh_rejected"


def code_to_move(eager: Member, pair: Pair, to: str, service: Service) -> str:
    """The code of the newest letter to another address, which nobody asks for at the same time."""
    had = len(service.codes(to, "email_code"))
    good(lambda: eager.ask_to_move(pair.access, to))
    return service.code_at(to, "email_code", number=had + 1)


def code_to_leave(eager: Member, pair: Pair, service: Service) -> str:
    had = len(service.codes(eager.email, "deletion_code"))
    good(lambda: eager.ask_to_leave(pair.access))
    return service.code_for(eager, "deletion_code", number=had + 1)


def move_ten_times(eager: Member, pair: Pair, service: Service) -> None:
    """Ask for a code and bring it, each ten times at once: one of them moves the account."""
    to = service.new_address("moved")
    assert crowd(partial(eager.ask_to_move, pair.access, to), at_once=A_FEW) == [{200: A_FEW}]
    service.code_at(to, "email_code", number=A_FEW)
    code = code_to_move(eager, pair, to, service)
    assert crowd(partial(eager.move, pair.access, code, to), at_once=A_FEW) == [{200: 1, 404: A_FEW - 1}]
    assert persist(eager.look_up).status == 404
    eager.email = to
    assert persist(eager.look_up).status == 200


def leave_ten_times(eager: Member, pair: Pair, service: Service) -> str:
    """Leave ten times at once, while the same session moves, refreshes, asks who it is, and ends the others.

    Either the account moves or it is deleted, since each makes the code of the other worth nothing; then it leaves.
    """
    to = service.new_address("moved-again")
    to_move, to_leave = code_to_move(eager, pair, to, service), code_to_leave(eager, pair, service)
    leaving = partial(eager.leave, pair.access, code=to_leave)
    left, moved, *others = crowd(
        leaving,
        partial(eager.move, pair.access, to_move, to),
        partial(eager.refresh, pair.refresh),
        partial(eager.me, pair.access),
        partial(eager.end_others, pair.access),
    )
    assert left[200] + moved[200] == 1, (left, moved)
    assert {*left, *moved} <= {200, *NO_EFFECT}
    assert all({*statuses} <= {200, 401} for statuses in others), others
    if left[200]:
        return "left"
    eager.email = to
    code = code_to_leave(eager, pair, service)
    [left] = crowd(partial(eager.leave, pair.access, code=code), at_once=A_FEW)
    assert left[200] == 1
    assert {*left} <= {200, *NO_EFFECT}
    return "moved, and left then"
