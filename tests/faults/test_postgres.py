"""PostgreSQL outage: each request gets 503 within two seconds, and the service recovers without a restart."""

import time
from collections.abc import Callable

import pytest

from tests.faults.client import expect_success, retry_unavailable
from tests.faults.prepared_requests import (
    MAX_ERROR_SECONDS,
    RegistrationRequests,
    SignedInRequests,
    concurrently,
    contract_violations,
    repeatedly,
    slowest,
)
from tests.faults.programs import wait_until
from tests.faults.service import MAX_CONNECTIONS, Fault, Service, inject_fault

pytestmark = [pytest.mark.slow, pytest.mark.undisturbed]

DURABLE = True


@pytest.mark.parametrize(("fault", "seconds"), [("refused", 1), ("frozen", 4), ("killed", 1)])
def test_every_request_gets_503_in_time_and_succeeds_after_the_recovery(
    fault: Fault, seconds: float, service: Service, report: Callable[[str], None]
) -> None:
    registration = RegistrationRequests.prepared(service)
    health = {"live": lambda: service.get("/health/live"), "ready": lambda: service.get("/health/ready")}

    with inject_fault(service.engines.postgres, fault):
        first = concurrently({**registration.requests, **health})
        later = repeatedly({**registration.requests, **health}, seconds=seconds)
        repair_began = time.monotonic()
    repaired = time.monotonic()
    recovery = wait_until(
        lambda: registration.temporary.look_up().status == 200, within=5, what="a successful response", every=0.01
    )

    assert first.pop("live").status == 200
    assert contract_violations({"ready": first.pop("ready")}, code="not_ready") == []
    assert contract_violations(first, code="database_away") == []
    assert {response.status for name, response in later if name == "live"} == {200}
    for name, response in later:
        if name != "live":
            assert contract_violations({name: response}, code="not_ready" if name == "ready" else "database_away") == []

    # After SIGCONT PostgreSQL may execute a statement that it received before, although its client has given up.
    signed_up_late = fault == "frozen" and retry_unavailable(registration.anonymous.look_up).status == 200
    assert retry_unavailable(registration.anonymous.sign_up).code == ("email_taken" if signed_up_late else None)
    expect_success(registration.anonymous.look_up)
    expect_success(registration.temporary.send_code)
    assert (
        retry_unavailable(lambda: registration.confirming.confirm_email(registration.wrong_code)).json["error"][
            "attempts_left"
        ]
        == 4
    )
    expect_success(lambda: registration.confirming.confirm_email(registration.code))
    expect_success(registration.resending.resend_code)
    expect_success(registration.confirmed.finish)
    expect_success(lambda: registration.temporary.confirm_email(service.newest_code(registration.temporary)))
    wait_until(lambda: service.connections() <= MAX_CONNECTIONS, within=10, what="hanging connections are closed")
    report(
        f"slowest error {slowest([*first.items(), *later]):.2f} s, {len(first) + len(later)} responses; "
        f"server repaired after {repaired - repair_began:.2f} s, first successful response {recovery:.2f} s later"
    )


@pytest.mark.parametrize(("fault", "seconds"), [("refused", 0.5), ("frozen", 2)])  # killed: see test_session_faults
def test_sign_in_and_sign_out_get_503_during_the_outage_and_jwks_is_published(
    fault: Fault, seconds: float, service: Service, report: Callable[[str], None]
) -> None:
    ada = SignedInRequests.prepared(service)
    jwks = {f"jwks {number}": lambda: service.get("/.well-known/jwks.json") for number in range(20)}
    concurrently(jwks)  # every worker reads the keys before the outage
    requests = {**ada.without_redis, **ada.by_codes}

    with inject_fault(service.engines.postgres, fault):
        first = concurrently({**requests, **jwks})
        later = repeatedly({**requests, "jwks": lambda: service.get("/.well-known/jwks.json")}, seconds=seconds)
    recovery = wait_until(
        lambda: ada.client.me(ada.kept.access).status == 200, within=5, what="a successful response", every=0.01
    )

    published = [(name, response) for name, response in [*first.items(), *later] if name.startswith("jwks")]
    errors = [(name, response) for name, response in [*first.items(), *later] if not name.startswith("jwks")]
    assert {response.status for _, response in published} == {200}
    assert slowest(published) < MAX_ERROR_SECONDS
    assert [violation for each in errors for violation in contract_violations(dict([each]), code="database_away")] == []

    # Requests with errors had no effect: the session is active, and the refresh token can be rotated.
    expect_success(lambda: ada.client.me(ada.signed_out.access))
    expect_success(lambda: ada.client.refresh(ada.kept.refresh))
    expect_success(lambda: ada.client.sign_out(ada.signed_out.access))
    assert retry_unavailable(lambda: ada.client.me(ada.signed_out.access)).code == "token_invalid"
    expect_success(lambda: ada.client.sign_in(ada.password))
    report(
        f"{len(errors)} errors, the slowest after {slowest(errors):.2f} s; {len(published)} JWKS responses, the "
        f"slowest after {slowest(published):.2f} s; first successful response {recovery:.2f} s after the repair"
    )
