"""Redis is away or has forgotten everything: codes wait, everything else goes on, and nothing comes back to life."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tests.faults.account_client import Pair
from tests.faults.client import CurrentUser, good, persist
from tests.faults.prepared_requests import SignedIn, Six, again_and_again, at_once, complaints, p99, signed_in, slowest
from tests.faults.programs import kill, wait_until
from tests.faults.service import Fault, Service, broken

pytestmark = pytest.mark.slow

DURABLE = True

FREE_ATTEMPTS = 5
"""The default of SIGN_IN_FREE_ATTEMPTS."""
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
    clients = [service.caller("client") for _ in range(200)]
    numbers = iter(clients)

    with broken(service.engines.redis, fault):
        first = at_once({**six.requests, **health})
        later = again_and_again(
            {**guesses, **six.requests, **health, "sign_up": lambda: next(numbers, clients[0]).sign_up()},
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
    # The circuit is open: once a second one request waits half a second for Redis, and no other request waits.
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


@pytest.mark.parametrize(("fault", "seconds"), [("refused", 0.5), ("frozen", 2)])  # killed: see test_session_faults
def test_rl3_people_sign_in_refresh_and_sign_out_meanwhile(
    fault: Fault, seconds: float, service: Service, report: Callable[[str], None]
) -> None:
    ada, eve = SignedIn.prepared(service), service.member("eve", password="correct horse battery")
    others = [signed_in(ada.member, ada.password) for _ in range(4)]
    needs = {**ada.without_redis, "jwks": lambda: service.get("/.well-known/jwks.json")}
    again = {name: needs[name] for name in ("me", "refresh", "jwks")}

    with broken(service.engines.redis, fault):
        began = time.monotonic()
        first = at_once({**needs, **ada.by_codes})
        before = {f"sign_out {number}": partial(ada.member.sign_out, each.access) for number, each in enumerate(others)}
        ended = at_once(before)
        opened_after = time.monotonic() - began
        later = again_and_again(again, seconds=seconds)
        guesses = [eve.sign_in(f"wrong {number}") for number in range(30)]
        codes = again_and_again(ada.by_codes, seconds=0.2)

    # Nothing that needs no code is refused: the same token gives the same successor all the time.
    for name in needs:
        assert {answer.status for each, answer in [*first.items(), *later] if each == name} == {200}, name
    assert {answer.status for answer in ended.values()} == {200}
    for name, answer in [*codes, *((name, first[name]) for name in ada.by_codes)]:
        assert complaints({name: answer}, code="redis_away") == []
    # Each of two workers judges as many guesses as are free.
    statuses = Counter(answer.status for answer in guesses)
    assert statuses[401] <= 2 * FREE_ATTEMPTS
    assert statuses == {401: statuses[401], 429: 30 - statuses[401]}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in guesses if answer.status == 429)

    for each in [ada.there, *others]:
        assert persist(lambda each=each: ada.member.me(each.access)).code == "token_invalid"  # type: ignore[misc]
    good(lambda: ada.member.me(ada.here.access))
    wait_until(lambda: ada.member.sign_in_by_code(ada.sign_in_code).status == 200, within=5, what="codes work again")
    good(lambda: ada.member.recover(ada.recovery_code, f"{ada.password} staple"))
    report(
        f"100 % of {len(needs) + len(ended) + len(later)} answers good, {statuses[401]} of 30 guesses judged; "
        f"p99 {p99([*first.values(), *ended.values()]) * 1000:.0f} ms in the first {opened_after:.1f} s, "
        f"{p99([answer for _, answer in later]) * 1000:.0f} ms then"
    )


def test_who_waited_for_a_code_to_sign_in_with_asks_for_another_after_a_flush(service: Service) -> None:
    ada = SignedIn.prepared(service)

    service.flush_redis()

    assert persist(lambda: ada.member.sign_in_by_code(ada.sign_in_code)).code == "credentials_rejected"
    assert persist(lambda: ada.member.recover(ada.recovery_code, "another horse battery")).code == "code_expired"
    good(ada.member.ask_to_sign_in)
    good(lambda: ada.member.sign_in_by_code(service.code_for(ada.member, "sign_in_code", number=2)))
    good(ada.member.ask_to_recover)
    code = service.code_for(ada.member, "recovery_code", number=2)
    good(lambda: ada.member.recover(code, "another horse battery"))
    service.flush_redis()
    assert persist(lambda: ada.member.recover(code, "a third horse battery")).code == "code_expired"
    good(lambda: ada.member.sign_in("another horse battery"))


def test_tk11_no_session_comes_back_when_everything_is_flushed_and_restarted(service: Service) -> None:
    ada = SignedIn.prepared(service)
    newest = Pair.of(good(lambda: ada.member.refresh(ada.here.refresh)))
    assert newest is not None
    good(lambda: ada.member.sign_out(ada.there.access))
    letters = service.sql("SELECT count(*) FROM letters WHERE kind = 'refresh_reused'")

    def check() -> None:
        assert persist(lambda: ada.member.me(ada.there.access)).code == "token_invalid"
        assert persist(lambda: ada.member.refresh(ada.there.refresh)).code == "refresh_rejected"
        good(lambda: ada.member.me(newest.access))

    service.flush_redis()
    check()
    workers = service.workers()
    service.api.kill()
    for pid in workers:  # which go on for a moment without their master
        kill(pid)
    for server in (service.engines.redis, service.engines.postgres):
        server.kill()
        server.start()
    service.flush_redis()
    service.start_api()
    check()
    good(lambda: ada.member.refresh(newest.refresh))
    assert service.sql("SELECT count(*) FROM letters WHERE kind = 'refresh_reused'") == letters


def register_with_a_new_code(service: Service, caller: CurrentUser) -> None:
    had = len(service.codes(caller.email))
    good(caller.resend_code)
    good(lambda: caller.mail(service.code_for(caller, number=had + 1)))
    assert good(caller.finish).json["data"]["roles"] == ["ROLE_PORTAL_USER"]
