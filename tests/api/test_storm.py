"""Sign-in overload: of hundreds of concurrent sign-ins some get 503, and users with a session are not affected."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest
from flask import Flask

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from auth_service.wiring import Services
from tests.support.actors import USERS, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.crowds import OvertakenAfterTheCheck, occupied
from tests.support.live import Answer, Live
from tests.support.rewiring import rewired

pytestmark = [pytest.mark.slow, pytest.mark.undisturbed]

ADA = "ada@example.org"
PASSWORD = "correct horse battery"
CLIENTS = 300
BUSY = 60.0
"""Seconds: a generous time limit, because the clients of the test use the same processors as the service."""


@pytest.fixture
def token(live: Live, api: ApiClient, mailbox: Mailbox) -> str:
    """The access token of a user who signed in before the overload."""
    api.register(ADA, mailbox, password=PASSWORD)
    answer = sign_in(live)
    assert answer.status == 200, answer.body
    access_token: str = answer.json["data"]["access_token"]
    return access_token


def sign_in(live: Live) -> Answer:
    body = json.dumps({"email": ADA, "password": PASSWORD}).encode()
    return live.request("POST", f"{USERS}/sign_in", "Content-Type: application/json", body=body, within=BUSY)


@pytest.fixture
def storm() -> Iterator[ThreadPoolExecutor]:
    """A thread per concurrent client."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        yield clients


def memory(live: Live) -> list[float]:
    """The resident memory of each worker process, in MB."""
    children = Path(f"/proc/{live.process.pid}/task/{live.process.pid}/children").read_text().split()
    sizes = []
    for pid in children:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")]
    return sizes


@pytest.mark.slow
def test_e20_three_hundred_concurrent_sign_ins_do_not_affect_signed_in_users(
    live: Live, token: str, storm: ThreadPoolExecutor
) -> None:
    before = max(memory(live))
    peaks: list[float] = []
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.05):
            peaks.append(max(memory(live)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    sign_ins = [storm.submit(sign_in, live) for _ in range(CLIENTS)]
    checks = []
    while not all(answer.done() for answer in sign_ins):
        checks.append(live.request("GET", f"{USERS}/me", f"Authorization: Bearer {token}", within=BUSY))
        time.sleep(0.02)
    finished.set()
    watcher.join()

    answers = [answer.result() for answer in sign_ins]
    signed_in = [answer for answer in answers if answer.status == 200]
    rejected = [answer for answer in answers if answer.status == 503]
    assert len(signed_in) + len(rejected) == CLIENTS, {answer.status for answer in answers}
    assert len(signed_in) >= 10
    assert rejected, "the queue of the password hasher is bounded"
    assert all((answer.code, answer.headers["Retry-After"]) == ("service_busy", "2") for answer in rejected)
    assert {check.status for check in checks} == {200}
    assert median(check.seconds for check in checks) < median(answer.seconds for answer in signed_in)
    assert max(peaks) < before + 19 + 60, "one hash at a time, and waiting threads"


@pytest.fixture
def narrow(make_app: MakeApp) -> Flask:
    """An application that hashes one password at a time and queues one more."""
    return make_app(hashes_waiting=1)


def test_pw6_a_full_hashing_queue_counts_no_failed_attempt(narrow: Flask, mailbox: Mailbox) -> None:
    ApiClient(narrow).register(ADA, mailbox, password=PASSWORD)
    hasher: PasswordHasher = narrow.extensions["auth_service"].sign_in.passwords.hasher
    client = ApiClient(narrow, address="198.51.100.9")

    with occupied(hasher):
        for _ in range(8):
            busy = client.sign_in(ADA, PASSWORD)
            assert (busy.status_code, refusal(busy)["code"]) == (503, "service_busy")
            assert busy.headers["Retry-After"] == "2"

    assert client.sign_in(ADA, PASSWORD).status_code == 200


def test_pw12_a_request_that_loses_the_race_for_hashing_capacity_counts_no_failed_attempt(
    narrow: Flask, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ApiClient(narrow).register(ADA, mailbox, password=PASSWORD)
    services: Services = narrow.extensions["auth_service"]
    hasher = OvertakenAfterTheCheck()
    client = ApiClient(narrow, address="198.51.100.9")

    with monkeypatch.context() as meanwhile:
        overtaken = rewired(services, services.sign_in.passwords.hasher, by=hasher)
        meanwhile.setitem(narrow.extensions, "auth_service", overtaken)
        for _ in range(8):
            assert client.sign_in(ADA, PASSWORD).status_code == 503
            hasher.free()

    assert hasher.times == 8
    assert client.sign_in(ADA, PASSWORD).status_code == 200
