"""Redis outage and data loss: codes get 503, everything else works, and no revoked session is accepted."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tests.faults.account_client import TokenPair
from tests.faults.client import RegistrationClient, expect_success, retry_unavailable
from tests.faults.prepared_requests import (
    RegistrationRequests,
    SignedInRequests,
    concurrently,
    contract_violations,
    p99,
    repeatedly,
    sign_in_with_password,
    slowest,
)
from tests.faults.programs import kill, wait_until
from tests.faults.service import Fault, Service, inject_fault

pytestmark = [pytest.mark.slow, pytest.mark.undisturbed]

DURABLE = True

FREE_ATTEMPTS = 5
"""The default of SIGN_IN_FREE_ATTEMPTS."""
NEED_REDIS = ("send_code", "confirm_email", "resend_code", "finish")


@pytest.mark.parametrize(("fault", "seconds"), [("refused", 1), ("frozen", 3), ("killed", 1)])
def test_codes_get_503_in_time_and_all_other_requests_succeed(
    fault: Fault, seconds: float, service: Service, report: Callable[[str], None]
) -> None:
    registration = RegistrationRequests.prepared(service)
    emails = service.sql("SELECT count(*) FROM letters")
    health = {"live": lambda: service.get("/health/live"), "ready": lambda: service.get("/health/ready")}
    # Enough to invalidate the code and exhaust the ticket, if failed attempts counted during the outage.
    attempts = {f"attempt {number}": registration.requests["confirm_email"] for number in range(20)}
    clients = [service.registration_client("client") for _ in range(200)]
    unused_clients = iter(clients)

    with inject_fault(service.engines.redis, fault):
        first = concurrently({**registration.requests, **health})
        later = repeatedly(
            {
                **attempts,
                **registration.requests,
                **health,
                "sign_up": lambda: next(unused_clients, clients[0]).sign_up(),
            },
            seconds=seconds,
        )
        emails_during_outage = service.sql("SELECT count(*) FROM letters")
    recovery = wait_until(
        lambda: registration.confirming.confirm_email(registration.wrong_code).status == 404,
        within=5,
        what="a successful response",
        every=0.01,
    )

    assert first["look_up"].status in (200, 404)
    assert first["sign_up"].status == 201
    assert first["live"].status == 200
    assert contract_violations({"ready": first["ready"]}, code="not_ready") == []
    assert contract_violations({name: first[name] for name in NEED_REDIS}, code="redis_away") == []
    for name, response in later:
        if name in NEED_REDIS or name.startswith("attempt"):
            assert contract_violations({name: response}, code="redis_away") == []
    assert {response.status for name, response in later if name in ("look_up", "live")} == {200}
    assert {response.status for name, response in later if name == "sign_up"} <= {201, 409}
    assert emails_during_outage == emails
    # With an open circuit breaker one request per second waits half a second for Redis, all others fail at once.
    assert statistics.median(response.seconds for _, response in later) < 0.1
    assert sum(response.seconds > 0.45 for _, response in later) <= 2 * 2 * (seconds + 1)

    # A killed Redis loses nothing, since it writes to its log before it replies; only a crash of the machine could.
    assert (
        retry_unavailable(lambda: registration.confirming.confirm_email(registration.wrong_code)).json["error"][
            "attempts_left"
        ]
        == 3
    )
    expect_success(lambda: registration.confirming.confirm_email(registration.code))
    expect_success(registration.confirmed.finish)
    for client in (registration.temporary, registration.resending):
        register_with_a_new_code(service, client)
    report(
        f"slowest response {slowest([*first.items(), *later]):.2f} s, {len(first) + len(later)} responses, "
        f"median {statistics.median(response.seconds for _, response in later) * 1000:.0f} ms; "
        f"first successful response {recovery:.2f} s after the repair"
    )


def test_users_who_wait_for_a_code_request_a_new_one_after_a_flush(service: Service) -> None:
    waiting, code = service.client_with_code("waiting")
    confirmed = service.confirmed_client("confirmed")

    service.flush_redis()

    assert retry_unavailable(lambda: waiting.confirm_email(code)).code == "code_expired"
    assert retry_unavailable(confirmed.finish).code == "mail_not_confirmed"
    for client in (waiting, confirmed):
        register_with_a_new_code(service, client)


def test_a_flush_does_not_reset_the_daily_limit_of_codes(service: Service) -> None:
    client = service.registration_client("client")
    expect_success(client.sign_up)
    responses = []
    for _ in range(12):
        responses.append(retry_unavailable(client.send_code))
        service.flush_redis()

    assert [response.status for response in responses] == [200] * 10 + [429] * 2
    service.newest_code(client, number=10)
    assert len(service.codes(client.email)) == 10


@pytest.mark.parametrize(("fault", "seconds"), [("refused", 0.5), ("frozen", 2)])  # killed: see test_session_faults
def test_rl3_users_sign_in_refresh_and_sign_out_during_the_outage(
    fault: Fault, seconds: float, service: Service, report: Callable[[str], None]
) -> None:
    ada, eve = SignedInRequests.prepared(service), service.account_client("eve", password="correct horse battery")
    others = [sign_in_with_password(ada.client, ada.password) for _ in range(4)]
    requests = {**ada.without_redis, "jwks": lambda: service.get("/.well-known/jwks.json")}
    repeated = {name: requests[name] for name in ("me", "refresh", "jwks")}

    with inject_fault(service.engines.redis, fault):
        began = time.monotonic()
        first = concurrently({**requests, **ada.by_codes})
        before = {f"sign_out {number}": partial(ada.client.sign_out, each.access) for number, each in enumerate(others)}
        signed_out = concurrently(before)
        first_phase = time.monotonic() - began
        later = repeatedly(repeated, seconds=seconds)
        attempts = [eve.sign_in(f"wrong {number}") for number in range(30)]
        codes = repeatedly(ada.by_codes, seconds=0.2)

    # Requests without codes succeed: the same refresh token returns the same successor every time.
    for name in requests:
        assert {response.status for each, response in [*first.items(), *later] if each == name} == {200}, name
    assert {response.status for response in signed_out.values()} == {200}
    for name, response in [*codes, *((name, first[name]) for name in ada.by_codes)]:
        assert contract_violations({name: response}, code="redis_away") == []
    # Each of two workers checks as many passwords as there are free attempts.
    statuses = Counter(response.status for response in attempts)
    assert statuses[401] <= 2 * FREE_ATTEMPTS
    assert statuses == {401: statuses[401], 429: 30 - statuses[401]}
    assert all(int(response.headers["retry-after"]) >= 1 for response in attempts if response.status == 429)

    for each in [ada.signed_out, *others]:
        assert retry_unavailable(lambda each=each: ada.client.me(each.access)).code == "token_invalid"  # type: ignore[misc]
    expect_success(lambda: ada.client.me(ada.kept.access))
    wait_until(lambda: ada.client.sign_in_by_code(ada.sign_in_code).status == 200, within=5, what="codes are accepted")
    expect_success(lambda: ada.client.reset_password(ada.recovery_code, f"{ada.password} staple"))
    report(
        f"100 % of {len(requests) + len(signed_out) + len(later)} responses successful, "
        f"{statuses[401]} of 30 failed attempts checked; "
        f"p99 {p99([*first.values(), *signed_out.values()]) * 1000:.0f} ms in the first {first_phase:.1f} s, "
        f"{p99([response for _, response in later]) * 1000:.0f} ms then"
    )


def test_users_who_wait_for_a_sign_in_code_request_a_new_one_after_a_flush(service: Service) -> None:
    ada = SignedInRequests.prepared(service)

    service.flush_redis()

    assert retry_unavailable(lambda: ada.client.sign_in_by_code(ada.sign_in_code)).code == "credentials_rejected"
    assert (
        retry_unavailable(lambda: ada.client.reset_password(ada.recovery_code, "another horse battery")).code
        == "code_expired"
    )
    expect_success(ada.client.send_sign_in_code)
    expect_success(lambda: ada.client.sign_in_by_code(service.newest_code(ada.client, "sign_in_code", number=2)))
    expect_success(ada.client.send_reset_code)
    code = service.newest_code(ada.client, "recovery_code", number=2)
    expect_success(lambda: ada.client.reset_password(code, "another horse battery"))
    service.flush_redis()
    assert retry_unavailable(lambda: ada.client.reset_password(code, "a third horse battery")).code == "code_expired"
    expect_success(lambda: ada.client.sign_in("another horse battery"))


def test_tk11_no_revoked_session_is_accepted_after_a_flush_and_a_restart_of_all_servers(service: Service) -> None:
    ada = SignedInRequests.prepared(service)
    newest = TokenPair.of(expect_success(lambda: ada.client.refresh(ada.kept.refresh)))
    assert newest is not None
    expect_success(lambda: ada.client.sign_out(ada.signed_out.access))
    emails = service.sql("SELECT count(*) FROM letters WHERE kind = 'refresh_reused'")

    def check() -> None:
        assert retry_unavailable(lambda: ada.client.me(ada.signed_out.access)).code == "token_invalid"
        assert retry_unavailable(lambda: ada.client.refresh(ada.signed_out.refresh)).code == "refresh_rejected"
        expect_success(lambda: ada.client.me(newest.access))

    service.flush_redis()
    check()
    workers = service.workers()
    service.api.kill()
    for pid in workers:  # which run for a moment without their master
        kill(pid)
    for server in (service.engines.redis, service.engines.postgres):
        server.kill()
        server.start()
    service.flush_redis()
    service.start_api()
    check()
    expect_success(lambda: ada.client.refresh(newest.refresh))
    assert service.sql("SELECT count(*) FROM letters WHERE kind = 'refresh_reused'") == emails


def register_with_a_new_code(service: Service, client: RegistrationClient) -> None:
    known = len(service.codes(client.email))
    expect_success(client.resend_code)
    expect_success(lambda: client.confirm_email(service.newest_code(client, number=known + 1)))
    assert expect_success(client.finish).json["data"]["roles"] == ["ROLE_PORTAL_USER"]
