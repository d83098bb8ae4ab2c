"""Sessions under load: the memory of three hundred concurrent sign-ins, and key rotation during requests."""

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

from tests.faults.account_client import AccountClient, TokenPair, key_id_of, session_id_of
from tests.faults.client import NoResponse, Response, expect_success
from tests.faults.fault_injection import outbox_is_empty, rotate_keys
from tests.faults.ledger import MAX_RESPONSE_SECONDS, FinalState, Ledger
from tests.faults.prepared_requests import p99, sign_in_with_password
from tests.faults.programs import wait_until
from tests.faults.service import Service
from tests.faults.session_invariants import SessionInvariants

pytestmark = [pytest.mark.slow, pytest.mark.undisturbed, pytest.mark.timeout(300)]

DURABLE = True
PASSWORD = "correct horse battery"
HASH_MIB = 19
OTHER_MIB = 60
"""The growth of a worker apart from password hashes: three hundred connections, and code on its first use."""


def test_pw6_three_hundred_concurrent_sign_ins_use_the_memory_of_a_few_hashes(
    service: Service, report: Callable[[str], None]
) -> None:
    ada = service.account_client("ada", password=PASSWORD)
    pair = sign_in_with_password(ada, PASSWORD)
    workers = service.workers()
    before = {pid: memory_mib(pid, "VmRSS") for pid in workers}
    over = Event()

    def refresh() -> list[Response | None]:
        responses: list[Response | None] = []
        newest = pair
        while not over.is_set():
            response = response_or_none(partial(ada.refresh, newest.refresh))
            responses.append(response)
            newest = TokenPair.of(response) or newest
        return responses

    def sign_in(number: int) -> Response | None:
        unknown = AccountClient(service.port, f"unknown-{number}-{os.getpid()}@example.org")
        return response_or_none(partial(unknown.sign_in, PASSWORD))

    with ThreadPoolExecutor(301) as pool:
        refreshing = pool.submit(refresh)
        began = time.monotonic()
        responses = list(pool.map(sign_in, range(300)))
        seconds = time.monotonic() - began
        over.set()

    answered = [response for response in responses if response is not None]
    checked = [response for response in answered if response.status == 401]
    overloaded = [response for response in answered if response.status == 503]
    assert len(checked) + len(overloaded) == 300, Counter(response and response.status for response in responses)
    assert checked
    assert max(response.seconds for response in answered) < MAX_RESPONSE_SECONDS
    assert all(int(response.headers["retry-after"]) >= 1 for response in overloaded)
    assert service.workers() == workers
    grown = {pid: memory_mib(pid, "VmHWM") - before[pid] for pid in workers}
    hashes_at_once = 2
    assert max(grown.values()) < hashes_at_once * HASH_MIB + OTHER_MIB
    refreshed = [response for response in refreshing.result() if response is not None]
    assert {response.status for response in refreshed} == {200}
    assert len(refreshed) == len(refreshing.result())
    expect_success(lambda: ada.sign_in(PASSWORD))
    report(
        f"300 sign-ins in {seconds:.1f} s: {len(checked)} checked, {len(overloaded)} got 503, "
        f"the slowest response after {max(response.seconds for response in answered):.1f} s; "
        f"a worker grew by at most {max(grown.values()):.0f} MiB; "
        f"{len(refreshed)} concurrent refreshes, p99 {p99(refreshed):.2f} s"
    )


def response_or_none(request: Callable[[], Response]) -> Response | None:
    """The response; None if no complete response arrived."""
    with suppress(NoResponse):
        return request()
    return None


def memory_mib(pid: int, name: str) -> float:
    """The current (VmRSS) or peak memory (VmHWM) of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("times", [pytest.param(1, id="short"), pytest.param(10, id="long", marks=pytest.mark.chaos)])
def test_tk7_key_rotation_during_requests_rejects_no_token(
    times: int, service: Service, report: Callable[[str], None]
) -> None:
    ledger = Ledger()
    clients = [
        service.account_client(f"steady-{number}", password=PASSWORD, record=ledger.record) for number in range(3)
    ]
    over = Event()

    def use_session(client: AccountClient) -> Sequence[str]:
        pairs = [sign_in_with_password(client, PASSWORD)]
        while not over.is_set():
            expect_success(lambda: client.me(pairs[0].access))
            expect_success(lambda: client.me(pairs[-1].access))
            pair = TokenPair.of(expect_success(lambda: client.refresh(pairs[-1].refresh)))
            assert pair is not None
            pairs.append(pair)
        return [pair.access for pair in pairs]

    with ThreadPoolExecutor(len(clients)) as pool:
        futures = [pool.submit(use_session, client) for client in clients]
        try:
            took = [rotate_keys(service) for _ in range(times)]
            # Every process reads the keys again within this time.
            time.sleep(5.5)
        finally:
            over.set()
    tokens = [token for future in futures for token in future.result()]
    published = {key["kid"] for key in service.get("/.well-known/jwks.json").json["keys"]}

    signed_by = Counter(key_id_of(token) for token in tokens)
    assert len(signed_by) >= 2
    assert signed_by.keys() <= published
    wait_until(lambda: outbox_is_empty(service), within=60, what="no email waits in the outbox", every=0.2)
    assert FinalState.of(service, ledger).violations() == []
    assert SessionInvariants.of(service, ledger).violations() == []
    assert len({session_id_of(token) for token in tokens}) == len(clients)
    report(
        f"{len(ledger.entries)} requests, {len(tokens)} tokens signed by {len(signed_by)} keys, none rejected; "
        f"a rotation took {max(took):.1f} s"
    )
