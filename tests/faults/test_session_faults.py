"""Sessions during faults of any process: no revoked session is accepted, and no active session is lost."""

from collections.abc import Callable

import pytest

from tests.faults.account_scenario import account_scenario
from tests.faults.fault_injection import Target, inject_faults
from tests.faults.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DURABLE = True
SETTINGS = {
    "LIMIT_CODES_A_DAY": "1000",
    "TICKET_GUESSES": "100",
    "OUTBOX_LEASE_SECONDS": "3",
    "SIGN_IN_FREE_ATTEMPTS": "20",
}

LONG = 200
LONG_FORM = pytest.param(LONG, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])
TARGETS: list[Target] = [
    "postgres", "redis", "worker", "postgres frozen", "redis frozen", "redis flushed", "keys rotated", "master",
    "postgres refused", "redis refused",
]  # fmt: skip


@pytest.mark.parametrize("faults", [pytest.param(6, id="short"), LONG_FORM])
def test_tk11_no_session_is_lost_or_accepted_after_revocation_during_faults(
    faults: int, service: Service, report: Callable[[str], None]
) -> None:
    figures, violations = inject_faults(
        service, targets=TARGETS, faults=faults, users=6, scenario=account_scenario(service)
    )
    report(figures.line())
    if faults == LONG:
        figures.write("sessions, anything broken")

    assert not violations, "\n".join([f"CHAOS_SEED={figures.seed}, {len(violations)} violations:", *violations])
    assert figures.registrations >= 6  # every user finishes, at the latest after the last fault
    assert figures.revoked_sessions >= 3
