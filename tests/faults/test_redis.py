"""Redis is away or has forgotten everything: codes wait, everything else goes on, and no guess is lost."""

import statistics
from collections.abc import Callable

import pytest

from tests.faults.client import Caller, good, persist
from tests.faults.programs import wait_until
from tests.faults.service import Fault, Service, broken
from tests.faults.steps import Six, again_and_again, at_once, complaints, slowest

pytestmark = pytest.mark.faults

DURABLE = True

NEED_REDIS = ("send_code", "mail", "resend_code", "finish")


@pytest.mark.parametrize(("fault", "seconds"), [("refused", 1), ("frozen", 3), ("killed", 1)])
def test_codes_are_refused_in_time_and_nothing_else_is(
    fault: Fault, seconds: float, service: Service, report: Callable[[str], None]
) -> None:
    six = Six.prepared(service)
    letters = service.sql("SELECT count(*) FROM letters")
    health = {"live": lambda: service.get("/health/live"), "ready": lambda: service.get("/health/ready")}
    # As many as would burn the code and use up the ticket, if they counted.
    guesses = {f"guess {number}": six.requests["mail"] for number in range(20)}
    newcomers = [service.caller("newcomer") for _ in range(200)]
    numbers = iter(newcomers)

    with broken(service.engines.redis, fault):
        first = at_once({**six.requests, **health})
        later = again_and_again(
            {**guesses, **six.requests, **health, "sign_up": lambda: next(numbers, newcomers[0]).sign_up()},
            seconds=seconds,
        )
        kept = service.sql("SELECT count(*) FROM letters")
    recovery = wait_until(
        lambda: six.guessing.mail(six.wrong_code).status == 404, within=5, what="a good answer", every=0.01
    )

    assert first["look_up"].status in (200, 404)
    assert first["sign_up"].status == 201
    assert first["live"].status == 200
    assert complaints({"ready": first["ready"]}, code="not_ready") == []
    assert complaints({name: first[name] for name in NEED_REDIS}, code="redis_away") == []
    for name, answer in later:
        if name in NEED_REDIS or name.startswith("guess"):
            assert complaints({name: answer}, code="redis_away") == []
    assert {answer.status for name, answer in later if name in ("look_up", "live")} == {200}
    assert {answer.status for name, answer in later if name == "sign_up"} <= {201, 409}
    assert kept == letters
    # The circuit is open: once a second somebody waits half a second for Redis, and nobody else waits.
    assert statistics.median(answer.seconds for _, answer in later) < 0.1
    assert sum(answer.seconds > 0.45 for _, answer in later) <= 2 * 2 * (seconds + 1)

    # A crash of the server takes nothing along, one of its machine could: Redis writes before it answers.
    assert persist(lambda: six.guessing.mail(six.wrong_code)).json["error"]["attempts_left"] == 3
    good(lambda: six.guessing.mail(six.code))
    good(six.confirmed.finish)
    for caller in (six.temporary, six.impatient):
        register_with_a_new_code(service, caller)
    report(
        f"slowest answer {slowest([*first.items(), *later]):.2f} s, {len(first) + len(later)} answers, "
        f"median {statistics.median(answer.seconds for _, answer in later) * 1000:.0f} ms; "
        f"first good answer {recovery:.2f} s after the server"
    )


def test_who_waited_for_a_code_when_redis_forgot_everything_asks_for_another(service: Service) -> None:
    guessing, code = service.with_code("guessing")
    confirmed = service.confirmed("confirmed")

    service.flush_redis()

    assert persist(lambda: guessing.mail(code)).code == "code_expired"
    assert persist(confirmed.finish).code == "mail_not_confirmed"
    for caller in (guessing, confirmed):
        register_with_a_new_code(service, caller)


def test_forgetting_everything_does_not_refill_the_codes_of_a_day(service: Service) -> None:
    caller = service.caller("greedy")
    good(caller.sign_up)
    answers = []
    for _ in range(12):
        answers.append(persist(caller.send_code))
        service.flush_redis()

    assert [answer.status for answer in answers] == [200] * 10 + [429] * 2
    service.code_for(caller, number=10)
    assert len(service.codes(caller.email)) == 10


def register_with_a_new_code(service: Service, caller: Caller) -> None:
    had = len(service.codes(caller.email))
    good(caller.resend_code)
    good(lambda: caller.mail(service.code_for(caller, number=had + 1)))
    assert good(caller.finish).json["data"]["roles"] == ["ROLE_PORTAL_USER"]
