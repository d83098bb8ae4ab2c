"""A storm of sign-ins: hundreds at once, told clearly who has to come back, while those who are signed in go on."""

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
from tests.support.actors import USERS, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.crowds import occupied
from tests.support.live import Answer, Live

ADA = "ada@example.org"
PASSWORD = "correct horse battery"
CROWD = 300
BUSY = 60.0
"""This machine has to play the crowd, too, and may have other things to do: nobody is measured by the clock here."""


@pytest.fixture
def token(live: Live, api: ApiClient, mailbox: Mailbox) -> str:
    """The access token of a user who signed in before the storm."""
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
    """A crowd that comes at once."""
    with ThreadPoolExecutor(CROWD) as crowd:
        yield crowd


def memory(live: Live) -> list[float]:
    """What each worker holds, in MB."""
    children = Path(f"/proc/{live.process.pid}/task/{live.process.pid}/children").read_text().split()
    sizes = []
    for pid in children:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")]
    return sizes


@pytest.mark.slow
def test_e20_three_hundred_sign_ins_at_once_stop_nobody_who_is_signed_in(
    live: Live, token: str, storm: ThreadPoolExecutor
) -> None:
    before = max(memory(live))
    peaks: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peaks.append(max(memory(live)))

    watching = threading.Thread(target=watch)
    watching.start()
    asked = [storm.submit(sign_in, live) for _ in range(CROWD)]
    checks = []
    while not all(answer.done() for answer in asked):
        checks.append(live.request("GET", f"{USERS}/me", f"Authorization: Bearer {token}", within=BUSY))
        time.sleep(0.02)
    over.set()
    watching.join()

    answers = [answer.result() for answer in asked]
    signed_in = [answer for answer in answers if answer.status == 200]
    sent_away = [answer for answer in answers if answer.status == 503]
    assert len(signed_in) + len(sent_away) == CROWD, {answer.status for answer in answers}
    assert len(signed_in) >= 10
    assert sent_away, "the queue has an end"
    assert all((answer.code, answer.headers["Retry-After"]) == ("service_busy", "2") for answer in sent_away)
    assert {check.status for check in checks} == {200}
    assert median(check.seconds for check in checks) < median(answer.seconds for answer in signed_in)
    assert max(peaks) < before + 19 + 60, "one hash at a time, and threads that wait"


@pytest.fixture
def narrow(make_app: MakeApp) -> Flask:
    """An application with one place for a hash, and one in the queue."""
    return make_app(hashes_waiting=1)


def test_pw6_a_full_queue_costs_nobody_an_attempt(narrow: Flask, mailbox: Mailbox) -> None:
    ApiClient(narrow).register(ADA, mailbox, password=PASSWORD)
    hasher: PasswordHasher = narrow.extensions["auth_service"].sign_in.passwords.hasher
    stranger = ApiClient(narrow, address="198.51.100.9")

    with occupied(hasher):
        for _ in range(8):
            busy = stranger.sign_in(ADA, PASSWORD)
            assert (busy.status_code, refusal(busy)["code"]) == (503, "service_busy")
            assert busy.headers["Retry-After"] == "2"

    assert stranger.sign_in(ADA, PASSWORD).status_code == 200


def test_pw12_who_waited_in_vain_has_not_attempted(
    narrow: Flask, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ApiClient(narrow).register(ADA, mailbox, password=PASSWORD)
    hasher: PasswordHasher = narrow.extensions["auth_service"].sign_in.passwords.hasher
    stranger = ApiClient(narrow, address="198.51.100.9")

    with occupied(hasher), monkeypatch.context() as patch:
        patch.setattr(PasswordHasher, "ensure_capacity", lambda _: None)  # the last place was taken a moment later
        for _ in range(8):
            assert stranger.sign_in(ADA, PASSWORD).status_code == 503

    assert stranger.sign_in(ADA, PASSWORD).status_code == 200
