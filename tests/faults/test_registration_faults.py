"""Registration while processes are killed: nothing acknowledged is lost, and every user finishes."""

from collections.abc import Callable

import pytest

from tests.faults.fault_injection import inject_faults
from tests.faults.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DURABLE = True
SETTINGS = {"LIMIT_CODES_A_DAY": "1000", "TICKET_GUESSES": "100", "OUTBOX_LEASE_SECONDS": "3"}

LONG = 200
LONG_FORM = pytest.param(LONG, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])


@pytest.mark.parametrize("faults", [pytest.param(10, id="short"), LONG_FORM])
def test_no_acknowledged_email_is_lost_when_the_mail_worker_is_killed(
    faults: int, service: Service, report: Callable[[str], None]
) -> None:
    figures, violations = inject_faults(service, targets=["mailer"], faults=faults, users=6)
    report(figures.line())
    if faults == LONG:
        figures.write("mailer killed")

    assert violations == [], f"CHAOS_SEED={figures.seed}"
    assert figures.registrations >= 3  # every user finishes, at the latest after the last fault


@pytest.mark.parametrize("faults", [pytest.param(5, id="short"), LONG_FORM])
def test_registrations_succeed_after_retries_when_any_process_is_killed(
    faults: int, service: Service, report: Callable[[str], None]
) -> None:
    figures, violations = inject_faults(
        service, targets=["postgres", "redis", "worker", "master", "mailer"], faults=faults, users=6
    )
    report(figures.line())
    if faults == LONG:
        figures.write("anything killed")

    assert violations == [], f"CHAOS_SEED={figures.seed}"
    assert figures.registrations >= 3  # every user finishes, at the latest after the last fault
