"""Storms: faults at random points of what people do, and the figures of what they did."""

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

from tests.faults.account_invariants import AccountLaws
from tests.faults.ledger import Aftermath, Ledger
from tests.faults.programs import kill, wait_until
from tests.faults.service import Service, broken
from tests.faults.session_invariants import SessionLaws
from tests.faults.virtual_users import Life, living, user_registers

Victim = Literal[
    "mailer", "worker", "master", "postgres", "redis",
    "postgres refused", "postgres frozen", "redis refused", "redis frozen", "redis flushed", "keys rotated",
]  # fmt: skip
"""Who is killed, unless it says what else is done."""

PATIENCE = 120.0
"""Seconds within which everything has to be back, on a machine that is busy with other things, too."""
LONGEST_FAULT = 2.5
"""Seconds for which something is refused or frozen: longer than any budget."""
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
    steps: dict[str, int] = field(default_factory=dict)
    """How often something was acknowledged, by what it was."""
    sessions: int = 0
    ended: int = 0
    """Sessions whose end was acknowledged, and whose tokens were brought back when all was over."""
    dead_tokens: int = 0
    gone: int = 0
    """Accounts that were deleted, whose addresses were tried when all was over."""
    left_behind: int = 0
    """Addresses that accounts had before, at which their owners tried to sign in when all was over."""
    slowest_answer_s: float = 0.0
    recovery_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """By victim, until the service is ready: after its end (worker), its start (master, mailer), or its return."""

    def line(self) -> str:
        kills = ", ".join(f"{number} {victim}" for victim, number in self.kills.items())
        recovery = "; ".join(
            f"{victim} {found['p50']:.2f}/{found['p99']:.2f}" for victim, found in self.recovery_s.items()
        )
        sessions = self.sessions and (
            f"{self.sessions} sessions, {self.ended} ended with {self.dead_tokens} tokens, "
            f"{self.gone} accounts deleted, {self.left_behind} addresses left behind, all of which were refused; "
            f"acknowledged {', '.join(f'{number} {step}' for step, number in self.steps.items())}; "
        )
        return (
            f"seed {self.seed}, {self.seconds:.0f} s, killed {kills}; {self.registrations} registrations, "
            f"{self.acknowledged} of {self.requests} requests acknowledged, {self.refused_by_503} refused by 503, "
            f"{self.unanswered} cut; {sessions or ''}{self.letters} letters, {self.lost} lost, "
            f"{self.duplicates} twice; "
            f"slowest answer {self.slowest_answer_s:.2f} s; recovery p50/p99 s: {recovery}"
        )

    def write(self, name: str) -> None:
        """Put the figures into the report: `CHAOS_REPORT`, or `.data/chaos.json`."""
        path = Path(os.environ.get("CHAOS_REPORT", ".data/chaos.json"))
        path.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, name: asdict(self)}, indent=2) + "\n")


def storm(
    service: Service, *, victims: Sequence[Victim], kills: int, people: int, life: Life = user_registers
) -> tuple[Figures, list[str]]:
    """Kill one of the victims at a time while people live; returns the figures, and the laws that were broken."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    ledger = Ledger()
    recoveries: dict[str, list[float]] = {}
    service.wait_until_mailing()
    began = time.monotonic()
    with living(service, ledger, life, people=people, seed=seed) as fates:
        for victim in drawn(victims, kills, chance=chance):
            lull(service, chance=chance)
            recoveries.setdefault(victim, []).append(killed(service, victim, chance=chance))
    wait_until(lambda: nothing_waits(service), within=60, what="every letter was dealt with", every=0.2)

    aftermath = Aftermath.of(service, ledger)
    laws = SessionLaws.of(service, ledger)
    accounts = AccountLaws.of(service, ledger)
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
        steps=dict(Counter(entry.step for entry in ledger.entries if entry.good)),
        sessions=len(laws.held),
        ended=len(laws.refused),
        dead_tokens=laws.dead_tokens,
        gone=len(accounts.gone),
        left_behind=len(accounts.left_behind),
        slowest_answer_s=round(ledger.slowest, 3),
        recovery_s={victim: percentiles(each) for victim, each in recoveries.items()},
    )
    broken = [*fates.stuck, *aftermath.broken_laws(), *laws.broken_laws(), *accounts.broken_laws()]
    return figures, broken


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
            wait_until(service.workers, within=PATIENCE, what="the API is up", every=0.05)
        case "postgres":
            service.engines.postgres.kill()
            service.engines.postgres.start()
            began = time.monotonic()
        case "redis":
            service.engines.redis.kill()
            service.engines.redis.start()
            began = time.monotonic()
        case "redis flushed":
            service.flush_redis()
        case "keys rotated":
            return rotated(service)
        case _:
            began = away(service, victim, chance=chance)
    wait_until(lambda: service.status("/health/ready") == 200, within=PATIENCE, what="a good answer", every=0.01)
    return time.monotonic() - began


def away(service: Service, victim: Victim, *, chance: random.Random) -> float:
    """Let a server be refused or frozen for a while; returns since when it is back, in monotonic seconds."""
    name, _, how = victim.partition(" ")
    server = service.engines.postgres if name == "postgres" else service.engines.redis
    with broken(server, "frozen" if how == "frozen" else "refused"):
        time.sleep(chance.uniform(0, LONGEST_FAULT))
    return time.monotonic()


def rotated(service: Service) -> float:
    """Rotate the keys of access tokens; returns how long the command took."""
    began = time.monotonic()
    # At once: nobody here keeps a copy of the key set.
    rotation = service.program("rotation", "keys", "rotate", "--now")
    rotation.start()
    assert rotation.wait(PATIENCE) == 0, rotation.said()
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
