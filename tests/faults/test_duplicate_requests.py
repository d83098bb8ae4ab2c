"""Concurrent duplicates of each request (E25): fifty copies at one moment have the effect of one."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest

from tests.faults.account_client import AccountClient, TokenPair
from tests.faults.account_invariants import AccountInvariants
from tests.faults.client import Response, expect_success, retry_unavailable
from tests.faults.fault_injection import outbox_is_empty
from tests.faults.ledger import FinalState, Ledger
from tests.faults.programs import wait_until
from tests.faults.service import Service
from tests.faults.session_invariants import SessionInvariants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DURABLE = True
SETTINGS = {"LIMIT_CODES_A_DAY": "1000"}

LONG_USERS = 400
"""The users of the long form: eleven minutes on two cores; the 1,000 of the plan take half an hour."""
USERS_PER_LEDGER = 50
"""After each group of users the invariants are checked and a new ledger begins, which limits the memory."""
CONCURRENT_USERS = 6
"""Users at the same time: while one waits for an email, others send requests."""
COPIES = 50
FEW_COPIES = 10
NO_EFFECT = {401, 404, 409}
"""The errors of a request whose session, code or account was revoked, used or changed by another request."""


def concurrently(*requests: Callable[[], Response], total: int = COPIES) -> list[Counter[int]]:
    """Send `total` requests at the same moment, each of `requests` equally often; returns the statuses of each."""
    barrier = Barrier(total)

    def send(number: int) -> int:
        barrier.wait()
        return retry_unavailable(requests[number % len(requests)]).status

    with ThreadPoolExecutor(total) as pool:
        statuses = list(pool.map(send, range(total)))
    return [Counter(statuses[number :: len(requests)]) for number in range(len(requests))]


def fifty_copies(request: Callable[[], Response]) -> Counter[int]:
    """Send fifty copies of a request at the same moment; returns the statuses."""
    [statuses] = concurrently(request)
    return statuses


def deadlocks(service: Service) -> int:
    return int(service.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0])


LONG_FORM = pytest.param(LONG_USERS, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(7200)])


@pytest.mark.parametrize("users", [pytest.param(1, id="short"), LONG_FORM])
def test_e25_fifty_copies_of_each_request_have_one_effect(
    users: int, service: Service, report: Callable[[str], None]
) -> None:
    before = deadlocks(service)
    began = time.monotonic()
    requests = unavailable = 0
    slowest = 0.0
    outcomes: Counter[str] = Counter()
    for first in range(0, users, USERS_PER_LEDGER):
        ledger = Ledger()
        clients = [
            AccountClient(service.port, service.new_address("eager"), record=ledger.record)
            for _ in range(min(USERS_PER_LEDGER, users - first))
        ]
        with ThreadPoolExecutor(CONCURRENT_USERS) as pool:
            outcomes.update(pool.map(partial(run_duplicate_requests, service), clients))
        wait_until(partial(outbox_is_empty, service), within=60, what="no email waits in the outbox", every=0.2)
        assert FinalState.of(service, ledger).violations() == []
        assert SessionInvariants.of(service, ledger).violations() == []
        accounts = AccountInvariants.of(service, ledger)
        assert accounts.violations() == []
        assert accounts.deleted == {client.registered_email for client in clients}
        requests, unavailable = requests + len(ledger.entries), unavailable + ledger.unavailable
        slowest = max(slowest, ledger.slowest)

    assert deadlocks(service) == before
    report(
        f"{users} users, {requests} requests in {time.monotonic() - began:.0f} s, {unavailable} got 503 and none got "
        f"another 5xx, no deadlock; slowest response {slowest:.2f} s; "
        f"concurrent change of address and deletion: {dict(outcomes)}"
    )


def run_duplicate_requests(service: Service, client: AccountClient) -> str:
    """Send concurrent duplicates of all requests of an account; returns which request won the last race."""
    register_with_duplicates(client, service)
    use_sessions_with_duplicates(client, service)
    code = sign_in_code(client, service)
    pair = TokenPair.of(expect_success(partial(client.sign_in_by_code, code)))
    assert pair is not None
    change_email_with_duplicates(client, pair, service)
    return delete_account_with_duplicates(client, pair, service)


def wait_for_emails(service: Service, to: str) -> None:
    """Wait until every email to an address has arrived or, as that of a replaced code, was withdrawn."""
    waiting = "SELECT id FROM letters WHERE recipient = %s AND state = 'waiting'"
    wait_until(lambda: not service.sql(waiting, to), within=30, what=f"no email to {to} waits in the outbox")


def requested_code(service: Service, to: str, kind: str, request: Callable[[], Response]) -> str:
    """Request a code and wait for its email; a retry replaces the code, so the number of the emails varies."""
    known = len(service.codes(to, kind))
    expect_success(request)
    wait_for_emails(service, to)
    *_, code = service.codes(to, kind)[known:]
    return code


def email_change_code(client: AccountClient, pair: TokenPair, to: str, service: Service) -> str:
    return requested_code(service, to, "email_code", lambda: client.request_email_change(pair.access, to))


def deletion_code(client: AccountClient, pair: TokenPair, service: Service) -> str:
    return requested_code(service, client.email, "deletion_code", lambda: client.send_deletion_code(pair.access))


def sign_in_code(client: AccountClient, service: Service) -> str:
    return requested_code(service, client.email, "sign_in_code", client.send_sign_in_code)


def register_with_duplicates(client: AccountClient, service: Service) -> None:
    """Sign up, confirm the address and finish, each fifty times at once."""
    assert fifty_copies(client.sign_up) == {201: 1, 409: COPIES - 1}
    # Sets the id of the user, whichever response arrived last.
    expect_success(client.look_up)
    code = requested_code(service, client.email, "registration_code", client.send_code)
    assert fifty_copies(lambda: client.confirm_email(code)) == {200: 1, 404: COPIES - 1}
    assert fifty_copies(client.finish) == {200: COPIES}


def use_sessions_with_duplicates(client: AccountClient, service: Service) -> None:
    """Sign in by a code, refresh, revoke the other sessions and sign out, each fifty times at once."""
    pairs = []
    for number in range(1, 4):
        code = sign_in_code(client, service)
        if number == 1:
            assert fifty_copies(partial(client.sign_in_by_code, code)) == {200: 1, 401: COPIES - 1}
            [[id_]] = service.sql(
                "SELECT s.id FROM sessions s JOIN users u ON u.id = user_id WHERE email = %s", client.email
            )
            assert id_
        else:
            pair = TokenPair.of(expect_success(partial(client.sign_in_by_code, code)))
            assert pair is not None
            pairs.append(pair)
    for pair in pairs:
        assert fifty_copies(partial(client.refresh, pair.refresh)) == {200: COPIES}

    # Each session revokes the other one: later requests find their own session revoked.
    for statuses in concurrently(*(partial(client.revoke_other_sessions, pair.access) for pair in pairs)):
        assert set(statuses) <= {200, 401}
    code = sign_in_code(client, service)
    pair = TokenPair.of(expect_success(partial(client.sign_in_by_code, code)))
    assert pair is not None
    assert set(fifty_copies(partial(client.sign_out, pair.access))) <= {200, 401}
    assert retry_unavailable(partial(client.refresh, pair.refresh)).code == "refresh_rejected"


def change_email_with_duplicates(client: AccountClient, pair: TokenPair, service: Service) -> None:
    """Request a code and submit it, each ten times at once: one request changes the address."""
    to = service.new_address("moved")
    assert concurrently(partial(client.request_email_change, pair.access, to), total=FEW_COPIES) == [{200: FEW_COPIES}]
    wait_for_emails(service, to)
    code = email_change_code(client, pair, to, service)
    assert concurrently(partial(client.change_email, pair.access, code, to), total=FEW_COPIES) == [
        {200: 1, 404: FEW_COPIES - 1}
    ]
    assert retry_unavailable(client.look_up).status == 404
    client.email = to
    assert retry_unavailable(client.look_up).status == 200


def delete_account_with_duplicates(client: AccountClient, pair: TokenPair, service: Service) -> str:
    """Delete the account ten times at once, with a change of address and other requests of the same session.

    Either the address changes or the account is deleted, since each invalidates the code of the other. After a change
    of address the account is deleted again.
    """
    to = service.new_address("moved-again")
    change_code, delete_code = email_change_code(client, pair, to, service), deletion_code(client, pair, service)
    delete = partial(client.delete_account, pair.access, code=delete_code)
    deleted, changed, *others = concurrently(
        delete,
        partial(client.change_email, pair.access, change_code, to),
        partial(client.refresh, pair.refresh),
        partial(client.me, pair.access),
        partial(client.revoke_other_sessions, pair.access),
    )
    assert deleted[200] + changed[200] == 1, (deleted, changed)
    assert {*deleted, *changed} <= {200, *NO_EFFECT}
    assert all({*statuses} <= {200, 401} for statuses in others), others
    if deleted[200]:
        return "deleted"
    client.email = to
    code = deletion_code(client, pair, service)
    [deleted] = concurrently(partial(client.delete_account, pair.access, code=code), total=FEW_COPIES)
    assert deleted[200] == 1
    assert {*deleted} <= {200, *NO_EFFECT}
    return "changed, then deleted"
