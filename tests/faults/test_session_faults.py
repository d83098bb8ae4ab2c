"""Anything breaks at any moment while people sign in and out: no ended session lives, and no living one is lost."""

from collections.abc import Callable

import pytest

from tests.faults.account_scenario import coming_and_going
from tests.faults.fault_injection import Victim, storm
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
VICTIMS: list[Victim] = [
    "postgres", "redis", "worker", "postgres frozen", "redis frozen", "redis flushed", "keys rotated", "master",
    "postgres refused", "redis refused",
]  # fmt: skip


@pytest.mark.parametrize("faults", [pytest.param(6, id="short"), LONG_FORM])
def test_tk11_no_session_is_lost_or_revived_whatever_breaks(
    faults: int, service: Service, report: Callable[[str], None]
) -> None:
    figures, broken_laws = storm(service, victims=VICTIMS, kills=faults, people=6, life=coming_and_going(service))
    report(figures.line())
    if faults == LONG:
        figures.write("sessions, anything broken")

    assert not broken_laws, "\n".join([f"CHAOS_SEED={figures.seed}, broken {len(broken_laws)} times:", *broken_laws])
    assert figures.registrations >= 6  # everybody finishes, at the latest when it is over
    assert figures.ended >= 3
