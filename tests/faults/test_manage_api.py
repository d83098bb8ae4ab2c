"""`manage.py api` in the profile `local`: no process survives a kill or Ctrl-C, and the next start succeeds."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auth_service.embedded import processes
from tests.faults.client import USERS, NoResponse, send_request
from tests.faults.programs import MANAGE, Program, free_port, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def program(port: int, tmp_path: Path) -> Iterator[Program]:
    environment = {"APP_ENV": "local", "DATA_DIR": str(tmp_path / "data"), "HTTP_PORT": str(port)}
    started = Program(command=[*MANAGE, "api"], environment=environment, log=tmp_path / "api.log")
    yield started
    remaining = process_tree(started)
    started.kill()
    wait_until(lambda: not remaining & running(), within=20, what="all its processes have ended")


def running() -> set[int]:
    """The ids of all processes of the system."""
    return {each.pid for each in processes.present()}


def process_tree(program: Program) -> set[int]:
    """The ids of the process and all its descendants."""
    if program.ended:
        return set()
    parents = {each.pid: each.parent for each in processes.present()}
    tree = {program.pid}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree


def wait_until_ready(program: Program, port: int) -> float:
    def ready() -> bool:
        assert not program.ended, program.output()
        try:
            return send_request(port, "GET", "/health/ready").status == 200
        except NoResponse:
            return False

    return wait_until(ready, within=60, what="the service is ready")


def register(port: int, email: str) -> None:
    """The requests of the original document, with a client-supplied code."""
    user = send_request(port, "POST", f"{USERS}/sign_up", body={"email": email}).json["data"]["id"]
    assert send_request(port, "POST", f"{USERS}/{user}/send_code", body={"code": 7505}).status == 200
    assert send_request(port, "PUT", f"{USERS}/{user}/mail?code=7505").status == 200
    assert send_request(port, "PATCH", f"{USERS}/{user}/sign_up").status == 200


def is_registered(port: int, email: str) -> bool:
    response = send_request(port, "GET", f"{USERS}?email={email}")
    return response.status == 200 and response.json["data"]["roles"] == ["ROLE_PORTAL_USER"]


def emails(port: int, email: str) -> list[object]:
    messages: list[object] = send_request(port, "GET", f"/dev/inbox?to={email}").json["data"]
    return messages


def test_no_process_survives_a_kill_or_ctrl_c(program: Program, port: int, report: Callable[[str], None]) -> None:
    program.start()
    first = wait_until_ready(program, port)
    register(port, "ada@example.org")
    tree = process_tree(program)

    program.kill()
    ended_after = wait_until(lambda: not tree & running(), within=10, what="all processes have ended after the kill")

    program.start()
    second = wait_until_ready(program, port)
    assert is_registered(port, "ada@example.org")
    user = send_request(port, "POST", f"{USERS}/sign_up", body={"email": "bob@example.org"}).json["data"]["id"]
    assert send_request(port, "POST", f"{USERS}/{user}/send_code", body={"code": 7506}).status == 200
    wait_until(lambda: emails(port, "bob@example.org"), within=15, what="its mail worker has sent the code")
    tree = process_tree(program)

    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    began = time.monotonic()
    status = program.wait(20)

    assert status == 0
    assert not tree & running()
    assert len(tree) > 8  # `manage.py`, gunicorn and two workers, the mail worker, several of PostgreSQL, Redis
    assert second < 20
    report(
        f"first start {first:.1f} s, second {second:.1f} s; {ended_after:.1f} s after kill -9 and "
        f"{time.monotonic() - began:.1f} s after Ctrl-C all {len(tree)} processes had ended"
    )


@pytest.mark.parametrize(
    "stops",
    [pytest.param(2, id="short"), pytest.param(40, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])],
)
def test_a_start_that_is_killed_or_interrupted_does_not_block_the_next_start(
    stops: int, program: Program, port: int, report: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    for number in range(stops):
        program.start()
        time.sleep(chance.uniform(0, 5))
        if number % 2:
            tree = process_tree(program)
            os.killpg(program.pid, signal.SIGINT)
            program.wait(30)
            assert not tree & running()
        else:
            program.kill()

    program.start()
    took = wait_until_ready(program, port)
    register(port, "ada@example.org")
    report(f"seed {seed}, killed or interrupted {stops} times during the start; the next start took {took:.1f} s")
