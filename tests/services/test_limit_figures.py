"""Denial of service by limits: what attackers with many networks achieve, in the figures of `docs/threats.md`.

The simulation runs the limits of the service with the settings of production and the real scripts in Redis. It lets
time pass by moving what Redis has counted into the past.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.errors import TooManyCodes
from auth_service.services.credentials.code_limits import CodeLimiter
from auth_service.services.credentials.passwords import THROTTLE
from auth_service.wiring import Services
from tests.support.application import MakeApp
from tests.support.documents import THREATS
from tests.support.passing_time import time_machine
from tests.support.stores import Stores

ADA = "ada@example.org"
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
NETWORKS = (0, 1, 2, 5, 6, 20, 51, 100)
BEGIN, END = "<!-- simulation -->\n", "<!-- /simulation -->"
HEADER = (
    "| networks of the attacker | codes left for the owner, after a minute | after a day | "
    "failed passwords on day 1 | day 2 | day 3 | the owner signs in by password |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


class Simulation:
    """An address under attack, and the clock of its counters."""

    def __init__(self, services: Services, pass_time: Callable[[timedelta], None]) -> None:
        self.codes: CodeLimiter = services.sign_in.codes.limiter
        self.throttle: LoginThrottle = services.sign_in.throttle
        self.pass_time = pass_time

    def codes_until_refused(self, network: str) -> int:
        """Request codes from a network until one is refused; return how many were sent."""
        for sent in range(100):
            try:
                self.codes.count(key=ADA, network=network)
            except TooManyCodes:
                return sent
        raise AssertionError("no limit")

    def attack_codes(self, networks: list[str], *, hours: int) -> int:
        """Request codes from all networks every hour; return what is left for the owner in an hour."""
        for hour in range(hours):
            if hour:
                self.pass_time(HOUR)
            for network in networks:
                self.codes_until_refused(network)
        return self.codes_until_refused("of the owner")

    def password_day(self, networks: list[str]) -> tuple[int, bool]:
        """Try passwords from all networks for a day; return the failures, and whether the owner can sign in at its end.

        The first network takes every attempt between two pauses. The others use their reserved attempts, which they
        have only as long as they have not failed.
        """
        failed, time_left = 0, DAY
        while True:
            more, wait = self._fail_until_refused(networks[0]) if networks else (0, DAY)
            failed += more + sum(self._fails(network) for network in networks[1:])
            if wait + SECOND > time_left:
                break
            time_left -= wait + SECOND
            self.pass_time(wait + SECOND)
        attempt = self.throttle.attempt(THROTTLE, f"address {ADA}", network="of the owner")
        if not attempt.wait:
            self.throttle.refund(THROTTLE, f"address {ADA}", attempt)
        self.pass_time(time_left)
        return failed, not attempt.wait

    def _fails(self, network: str) -> bool:
        return not self.throttle.attempt(THROTTLE, f"address {ADA}", network=network).wait

    def _fail_until_refused(self, network: str) -> tuple[int, timedelta]:
        for failed in range(100):
            attempt = self.throttle.attempt(THROTTLE, f"address {ADA}", network=network)
            if attempt.wait:
                return failed, attempt.wait
        raise AssertionError("no limit")


@pytest.fixture
def begin(
    make_app: MakeApp, stores: Stores, forget_everything_in_redis: Callable[[], None]
) -> Callable[[], Simulation]:
    """Begins a simulation with empty counters."""
    services: Services = make_app(app_env="production").extensions["auth_service"]

    def new_simulation() -> Simulation:
        forget_everything_in_redis()
        return Simulation(services, time_machine(stores))

    return new_simulation


def rows(begin: Callable[[], Simulation]) -> Iterator[str]:
    """The rows of the table."""
    for count in NETWORKS:
        networks = [f"network {number}" for number in range(count)]
        minute = begin().attack_codes(networks, hours=1)
        day = begin().attack_codes(networks, hours=24)
        simulation = begin()
        # Each day brings other networks, except the one that takes the attempts between the pauses.
        days = [
            simulation.password_day(networks[:1] + [f"day {day} {name}" for name in networks[1:]]) for day in range(3)
        ]
        failed = " | ".join(str(failures) for failures, _ in days)
        owner = "yes" if all(admitted for _, admitted in days) else "no"
        yield f"| {count} | {minute} | {day} | {failed} | {owner} |\n"


@pytest.mark.slow
def test_b6_the_page_about_threats_has_the_figures_of_the_simulation(begin: Callable[[], Simulation]) -> None:
    table = HEADER + "".join(rows(begin))

    before, begins, rest = THREATS.read_text("utf-8").partition(BEGIN)
    documented, ends, _ = rest.partition(END)

    assert before
    assert begins
    assert ends
    assert documented == table, f"\n{table}"


@pytest.mark.slow
def test_nist_fewer_than_a_hundred_passwords_of_an_address_fail_in_ten_days(begin: Callable[[], Simulation]) -> None:
    simulation = begin()
    failures = [simulation.password_day([f"day {day} {number}" for number in range(80)])[0] for day in range(10)]

    assert sum(failures) < 100
    assert set(failures[2:]) == {1}
