"""`manage.py api` on a developer's machine: however it ends, nothing of it is left, and the next start goes on."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auth_service.embedded import processes
from tests.faults.client import USERS, Unanswered, ask
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
    left = family(started)
    started.kill()
    wait_until(lambda: not left & present(), within=20, what="nothing is left of it")


def present() -> set[int]:
    return {each.pid for each in processes.present()}


def family(program: Program) -> set[int]:
    """The process and all that it started, and what those started."""
    if program.ended:
        return set()
    parents = {each.pid: each.parent for each in processes.present()}
    found = {program.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def until_ready(program: Program, port: int) -> float:
    def ready() -> bool:
        assert not program.ended, program.said()
        try:
            return ask(port, "GET", "/health/ready").status == 200
        except Unanswered:
            return False

    return wait_until(ready, within=60, what="it is ready")


def register(port: int, email: str) -> None:
    """The requests of the original document, with a code of one's own."""
    user = ask(port, "POST", f"{USERS}/sign_up", body={"email": email}).json["data"]["id"]
    assert ask(port, "POST", f"{USERS}/{user}/send_code", body={"code": 7505}).status == 200
    assert ask(port, "PUT", f"{USERS}/{user}/mail?code=7505").status == 200
    assert ask(port, "PATCH", f"{USERS}/{user}/sign_up").status == 200


def is_registered(port: int, email: str) -> bool:
    answer = ask(port, "GET", f"{USERS}?email={email}")
    return answer.status == 200 and answer.json["data"]["roles"] == ["ROLE_PORTAL_USER"]


def letters(port: int, email: str) -> list[object]:
    found: list[object] = ask(port, "GET", f"/dev/inbox?to={email}").json["data"]
    return found


def test_killed_it_leaves_nothing_and_stopped_it_leaves_nothing(
    program: Program, port: int, report: Callable[[str], None]
) -> None:
    program.start()
    first = until_ready(program, port)
    register(port, "ada@example.org")
    everything = family(program)

    program.kill()
    gone = wait_until(lambda: not everything & present(), within=10, what="nothing is left of what was killed")

    program.start()
    second = until_ready(program, port)
    assert is_registered(port, "ada@example.org")
    user = ask(port, "POST", f"{USERS}/sign_up", body={"email": "bob@example.org"}).json["data"]["id"]
    assert ask(port, "POST", f"{USERS}/{user}/send_code", body={"code": 7506}).status == 200
    wait_until(lambda: letters(port, "bob@example.org"), within=15, what="its mailer works")
    everything = family(program)

    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    began = time.monotonic()
    status = program.wait(20)

    assert status == 0
    assert not everything & present()
    assert len(everything) > 8  # itself, gunicorn and two workers, the mailer, PostgreSQL's several, Redis
    assert second < 20
    report(
        f"first start {first:.1f} s, second {second:.1f} s; {gone:.1f} s after kill -9 and "
        f"{time.monotonic() - began:.1f} s after Ctrl-C nothing was left of {len(everything)} processes"
    )


@pytest.mark.parametrize(
    "ends",
    [pytest.param(2, id="short"), pytest.param(40, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])],
)
def test_ended_at_any_point_of_its_start_it_does_not_hinder_the_next(
    ends: int, program: Program, port: int, report: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    for number in range(ends):
        program.start()
        time.sleep(chance.uniform(0, 5))
        if number % 2:
            everything = family(program)
            os.killpg(program.pid, signal.SIGINT)
            program.wait(30)
            assert not everything & present()
        else:
            program.kill()

    program.start()
    took = until_ready(program, port)
    register(port, "ada@example.org")
    report(f"seed {seed}, {ends} times killed or interrupted while it started; the next start took {took:.1f} s")
