"""Storms: kills at random points of running registrations, and the figures of what they did."""

import json
import math
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from tests.faults.ledger import Aftermath, Ledger
from tests.faults.people import registering
from tests.faults.programs import kill, wait_until
from tests.faults.service import Service

Victim = Literal["mailer", "worker", "master", "postgres", "redis"]

LONGEST_LULL = 1.0
MOST_LETTERS = 40
"""What may pass between what was broken being back and the next kill: seconds, or letters, whichever comes first."""


@dataclass(kw_only=True)
class Figures:
    """What a storm did."""

    seed: int
    seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=dict)
    registrations: int = 0
    requests: int = 0
    acknowledged: int = 0
    refused_by_503: int = 0
    unanswered: int = 0
    letters: int = 0
    lost: int = 0
    duplicates: int = 0
    slowest_answer_s: float = 0.0
    recovery_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """By victim, until the service is ready: after its end (worker), its start (master, mailer), or its return."""

    def line(self) -> str:
        kills = ", ".join(f"{number} {victim}" for victim, number in self.kills.items())
        recovery = "; ".join(
            f"{victim} {found['p50']:.2f}/{found['p99']:.2f}" for victim, found in self.recovery_s.items()
        )
        return (
            f"seed {self.seed}, {self.seconds:.0f} s, killed {kills}; {self.registrations} registrations, "
            f"{self.acknowledged} of {self.requests} requests acknowledged, {self.refused_by_503} refused by 503, "
            f"{self.unanswered} cut; {self.letters} letters, {self.lost} lost, {self.duplicates} twice; "
            f"slowest answer {self.slowest_answer_s:.2f} s; recovery p50/p99 s: {recovery}"
        )

    def write(self, name: str) -> None:
        """Put the figures into the report: `CHAOS_REPORT`, or `.data/chaos.json`."""
        path = Path(os.environ.get("CHAOS_REPORT", ".data/chaos.json"))
        path.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, name: asdict(self)}, indent=2) + "\n")


def storm(service: Service, *, victims: Sequence[Victim], kills: int, people: int) -> tuple[Figures, list[str]]:
    """Kill one of the victims at a time while people register; returns the figures, and the laws that were broken."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    ledger = Ledger()
    recoveries: dict[str, list[float]] = {}
    service.wait_until_mailing()
    began = time.monotonic()
    with registering(service, ledger, people=people, seed=seed) as fates:
        for victim in drawn(victims, kills, chance=chance):
            lull(service, chance=chance)
            recoveries.setdefault(victim, []).append(killed(service, victim, chance=chance))
    wait_until(lambda: nothing_waits(service), within=60, what="every letter was dealt with", every=0.2)

    aftermath = Aftermath.of(service, ledger)
    figures = Figures(
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        kills=dict(Counter({victim: len(each) for victim, each in recoveries.items()})),
        registrations=len(fates.finished),
        requests=len(ledger.entries),
        acknowledged=sum(entry.good for entry in ledger.entries),
        refused_by_503=ledger.refused,
        unanswered=ledger.unanswered,
        letters=len(aftermath.letters),
        lost=len(list(aftermath.lost())),
        duplicates=aftermath.duplicates,
        slowest_answer_s=round(ledger.slowest, 3),
        recovery_s={victim: percentiles(each) for victim, each in recoveries.items()},
    )
    return figures, [*fates.stuck, *aftermath.broken_laws()]


def lull(service: Service, *, chance: random.Random) -> None:
    """Let people register until the next kill, which is to hit anything that may be under way."""
    until = time.monotonic() + chance.uniform(0, LONGEST_LULL)
    letters = len(service.sink.messages) + chance.randrange(MOST_LETTERS)
    while time.monotonic() < until and len(service.sink.messages) < letters:
        time.sleep(0.001)


def drawn(victims: Sequence[Victim], number: int, *, chance: random.Random) -> list[Victim]:
    """The victims in a random order, each as often as the others."""
    order = [victims[place % len(victims)] for place in range(number)]
    chance.shuffle(order)
    return order


def killed(service: Service, victim: Victim, *, chance: random.Random) -> float:
    """Kill it with SIGKILL and do what an orchestrator does; returns how long the next good answer took then."""
    began = time.monotonic()
    match victim:
        case "mailer":
            return killed_mailer(service)
        case "worker":
            kill(chance.choice(service.workers()))
        case "master":
            service.api.kill()
            began = time.monotonic()
            service.api.start()
            # Workers of the old one may answer until they notice that they are orphans.
            wait_until(service.workers, within=30, what="the API is up", every=0.01)
        case "postgres":
            service.engines.postgres.kill()
            service.engines.postgres.start()
            began = time.monotonic()
        case "redis":
            service.engines.redis.kill()
            service.engines.redis.start()
            began = time.monotonic()
    wait_until(lambda: service.status("/health/ready") == 200, within=30, what="a good answer", every=0.01)
    return time.monotonic() - began


def killed_mailer(service: Service) -> float:
    """Kill the mailer; returns how long it took until a mailer is at work again."""
    service.mailer.kill()
    began = time.monotonic()
    service.mailer.start()
    service.wait_until_mailing()
    return time.monotonic() - began


def nothing_waits(service: Service) -> bool:
    return not service.sql("SELECT id FROM letters WHERE state = 'waiting'")


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: round(ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)], 3)
        for name, part in (("p50", 0.5), ("p99", 0.99))
    }
