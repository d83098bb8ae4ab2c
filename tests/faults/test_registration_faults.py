"""Anything is killed at any moment: nothing that was acknowledged is lost, nobody is half made, nobody gets stuck."""

from collections.abc import Callable

import pytest

from tests.faults.fault_injection import storm
from tests.faults.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DURABLE = True
SETTINGS = {"LIMIT_CODES_A_DAY": "1000", "TICKET_GUESSES": "100", "OUTBOX_LEASE_SECONDS": "3"}

LONG = 200
LONG_FORM = pytest.param(LONG, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])


@pytest.mark.parametrize("kills", [pytest.param(10, id="short"), LONG_FORM])
def test_no_acknowledged_letter_is_lost_when_the_mailer_is_killed(
    kills: int, service: Service, report: Callable[[str], None]
) -> None:
    figures, broken_laws = storm(service, victims=["mailer"], kills=kills, people=6)
    report(figures.line())
    if kills == LONG:
        figures.write("mailer killed")

    assert broken_laws == [], f"CHAOS_SEED={figures.seed}"
    assert figures.registrations >= 3  # everybody finishes, at the latest when it is over


@pytest.mark.parametrize("kills", [pytest.param(5, id="short"), LONG_FORM])
def test_clients_see_only_a_pause_when_any_process_is_killed(
    kills: int, service: Service, report: Callable[[str], None]
) -> None:
    figures, broken_laws = storm(
        service, victims=["postgres", "redis", "worker", "master", "mailer"], kills=kills, people=6
    )
    report(figures.line())
    if kills == LONG:
        figures.write("anything killed")

    assert broken_laws == [], f"CHAOS_SEED={figures.seed}"
    assert figures.registrations >= 3  # everybody finishes, at the latest when it is over
