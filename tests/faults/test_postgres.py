"""PostgreSQL is away: everybody is told so within two seconds, and nobody has to restart anything when it is back."""

import time
from collections.abc import Callable

import pytest

from tests.faults.client import good, persist
from tests.faults.prepared_requests import PROMISED, SignedIn, Six, again_and_again, at_once, complaints, slowest
from tests.faults.programs import wait_until
from tests.faults.service import MOST_CONNECTIONS, Fault, Service, broken

pytestmark = pytest.mark.slow

DURABLE = True


@pytest.mark.parametrize(("fault", "seconds"), [("refused", 1), ("frozen", 4), ("killed", 1)])
def test_every_request_is_refused_in_time_and_works_again_when_it_is_back(
    fault: Fault, seconds: float, service: Service, report: Callable[[str], None]
) -> None:
    six = Six.prepared(service)
    health = {"live": lambda: service.get("/health/live"), "ready": lambda: service.get("/health/ready")}

    with broken(service.engines.postgres, fault):
        first = at_once({**six.requests, **health})
        later = again_and_again({**six.requests, **health}, seconds=seconds)
        mending = time.monotonic()
    mended = time.monotonic()
    recovery = wait_until(lambda: six.temporary.look_up().status == 200, within=5, what="a good answer", every=0.01)

    assert first.pop("live").status == 200
    assert complaints({"ready": first.pop("ready")}, code="not_ready") == []
    assert complaints(first, code="database_away") == []
    assert {answer.status for name, answer in later if name == "live"} == {200}
    for name, answer in later:
        if name != "live":
            assert complaints({name: answer}, code="not_ready" if name == "ready" else "database_away") == []

    # What it was sent just before it froze it may carry out when it thaws, although nobody waits for that any more.
    done_later = fault == "frozen" and persist(six.stranger.look_up).status == 200
    assert persist(six.stranger.sign_up).code == ("email_taken" if done_later else None)
    good(six.stranger.look_up)
    good(six.temporary.send_code)
    assert persist(lambda: six.guessing.mail(six.wrong_code)).json["error"]["attempts_left"] == 4
    good(lambda: six.guessing.mail(six.code))
    good(six.impatient.resend_code)
    good(six.confirmed.finish)
    good(lambda: six.temporary.mail(service.code_for(six.temporary)))
    wait_until(lambda: service.connections() <= MOST_CONNECTIONS, within=10, what="connections that hung are gone")
    report(
        f"slowest refusal {slowest([*first.items(), *later]):.2f} s, {len(first) + len(later)} answers; "
        f"server back after {mended - mending:.2f} s, first good answer {recovery:.2f} s later"
    )


@pytest.mark.parametrize(("fault", "seconds"), [("refused", 0.5), ("frozen", 2)])  # killed: see test_session_faults
def test_nobody_is_signed_in_or_out_meanwhile_and_keys_are_published(
    fault: Fault, seconds: float, service: Service, report: Callable[[str], None]
) -> None:
    ada = SignedIn.prepared(service)
    jwks = {f"jwks {number}": lambda: service.get("/.well-known/jwks.json") for number in range(20)}
    at_once(jwks)  # so that every worker has read them
    requests = {**ada.without_redis, **ada.by_codes}

    with broken(service.engines.postgres, fault):
        first = at_once({**requests, **jwks})
        later = again_and_again({**requests, "jwks": lambda: service.get("/.well-known/jwks.json")}, seconds=seconds)
    recovery = wait_until(
        lambda: ada.member.me(ada.here.access).status == 200, within=5, what="a good answer", every=0.01
    )

    published = [(name, answer) for name, answer in [*first.items(), *later] if name.startswith("jwks")]
    refused = [(name, answer) for name, answer in [*first.items(), *later] if not name.startswith("jwks")]
    assert {answer.status for _, answer in published} == {200}
    assert slowest(published) < PROMISED
    assert [complaint for each in refused for complaint in complaints(dict([each]), code="database_away")] == []

    # What was refused was not done: the session that was to be ended lives, and the token is exchanged now.
    good(lambda: ada.member.me(ada.there.access))
    good(lambda: ada.member.refresh(ada.here.refresh))
    good(lambda: ada.member.sign_out(ada.there.access))
    assert persist(lambda: ada.member.me(ada.there.access)).code == "token_invalid"
    good(lambda: ada.member.sign_in(ada.password))
    report(
        f"{len(refused)} refusals, the slowest after {slowest(refused):.2f} s; {len(published)} times keys, the "
        f"slowest after {slowest(published):.2f} s; first good answer {recovery:.2f} s after the server"
    )
