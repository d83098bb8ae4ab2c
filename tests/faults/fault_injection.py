"""Fault injection: faults at random moments while virtual users run a scenario, and the figures of the run."""

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

from tests.faults.account_invariants import AccountInvariants
from tests.faults.ledger import FinalState, Ledger
from tests.faults.programs import kill, wait_until
from tests.faults.service import Service, inject_fault
from tests.faults.session_invariants import SessionInvariants
from tests.faults.virtual_users import Scenario, registration_scenario, running_users

Target = Literal[
    "mailer", "worker", "master", "postgres", "redis",
    "postgres refused", "postgres frozen", "redis refused", "redis frozen", "redis flushed", "keys rotated",
]  # fmt: skip
"""A process that is killed, or a server or key and what happens to it."""

RECOVERY_TIMEOUT = 120.0
"""Seconds within which the service must recover, also on a busy machine."""
MAX_FAULT_SECONDS = 2.5
"""The longest time for which a server is stopped or frozen: longer than any time limit of the service."""
MAX_PAUSE_SECONDS = 1.0
MAX_EMAILS_BETWEEN_FAULTS = 40
"""The limits of the pause between recovery and the next fault: the first that is reached ends the pause."""


@dataclass(kw_only=True)
class Figures:
    """The figures of one run."""

    seed: int
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    registrations: int = 0
    requests: int = 0
    acknowledged: int = 0
    status_503: int = 0
    unanswered: int = 0
    emails: int = 0
    lost_emails: int = 0
    duplicate_emails: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    """The number of acknowledged requests by step."""
    sessions: int = 0
    revoked_sessions: int = 0
    """Sessions with an acknowledged revocation, whose tokens were sent again after the run."""
    revoked_tokens: int = 0
    deleted_accounts: int = 0
    """Deleted accounts, whose addresses were registered again after the run."""
    former_addresses: int = 0
    """Addresses before a change, with which a sign-in was attempted after the run."""
    slowest_response_s: float = 0.0
    recovery_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """By target: seconds until readiness, after the kill (worker), the start (master, mailer) or the repair."""

    def line(self) -> str:
        faults = ", ".join(f"{number} {target}" for target, number in self.faults.items())
        recovery = "; ".join(
            f"{target} {seconds['p50']:.2f}/{seconds['p99']:.2f}" for target, seconds in self.recovery_s.items()
        )
        sessions = self.sessions and (
            f"{self.sessions} sessions, {self.revoked_sessions} revoked with {self.revoked_tokens} tokens, "
            f"{self.deleted_accounts} accounts deleted, {self.former_addresses} former addresses, all rejected; "
            f"acknowledged {', '.join(f'{number} {step}' for step, number in self.steps.items())}; "
        )
        return (
            f"seed {self.seed}, {self.seconds:.0f} s, faults: {faults}; {self.registrations} registrations, "
            f"{self.acknowledged} of {self.requests} requests acknowledged, {self.status_503} got 503, "
            f"{self.unanswered} without a response; {sessions or ''}{self.emails} emails, "
            f"{self.lost_emails} lost, {self.duplicate_emails} duplicates; "
            f"slowest response {self.slowest_response_s:.2f} s; recovery p50/p99 s: {recovery}"
        )

    def write(self, name: str) -> None:
        """Write the figures to the report: `CHAOS_REPORT`, or `.data/chaos.json`."""
        path = Path(os.environ.get("CHAOS_REPORT", ".data/chaos.json"))
        path.parent.mkdir(parents=True, exist_ok=True)
        report = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**report, name: asdict(self)}, indent=2) + "\n")


def inject_faults(
    service: Service, *, targets: Sequence[Target], faults: int, users: int, scenario: Scenario = registration_scenario
) -> tuple[Figures, list[str]]:
    """Inject one fault at a time while users run a scenario; returns the figures and the violated invariants."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    ledger = Ledger()
    recoveries: dict[str, list[float]] = {}
    service.wait_until_mail_workers_run()
    began = time.monotonic()
    with running_users(service, ledger, scenario, users=users, seed=seed) as outcomes:
        for target in shuffled(targets, faults, chance=chance):
            wait_before_fault(service, chance=chance)
            recoveries.setdefault(target, []).append(inject(service, target, chance=chance))
    wait_until(lambda: outbox_is_empty(service), within=60, what="no email waits in the outbox", every=0.2)

    final_state = FinalState.of(service, ledger)
    sessions = SessionInvariants.of(service, ledger)
    accounts = AccountInvariants.of(service, ledger)
    figures = Figures(
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        faults=dict(Counter({target: len(each) for target, each in recoveries.items()})),
        registrations=len(outcomes.finished),
        requests=len(ledger.entries),
        acknowledged=sum(entry.acknowledged for entry in ledger.entries),
        status_503=ledger.unavailable,
        unanswered=ledger.unanswered,
        emails=len(final_state.outbox),
        lost_emails=len(list(final_state.lost())),
        duplicate_emails=final_state.duplicates,
        steps=dict(Counter(entry.step for entry in ledger.entries if entry.acknowledged)),
        sessions=len(sessions.recorded),
        revoked_sessions=len(sessions.rejected),
        revoked_tokens=sessions.revoked_tokens,
        deleted_accounts=len(accounts.deleted),
        former_addresses=len(accounts.former_addresses),
        slowest_response_s=round(ledger.slowest, 3),
        recovery_s={target: percentiles(each) for target, each in recoveries.items()},
    )
    violations = [*outcomes.stuck, *final_state.violations(), *sessions.violations(), *accounts.violations()]
    return figures, violations


def wait_before_fault(service: Service, *, chance: random.Random) -> None:
    """Wait for a random time, so that the next fault hits requests at any stage."""
    until = time.monotonic() + chance.uniform(0, MAX_PAUSE_SECONDS)
    emails = len(service.sink.messages) + chance.randrange(MAX_EMAILS_BETWEEN_FAULTS)
    while time.monotonic() < until and len(service.sink.messages) < emails:
        time.sleep(0.001)


def shuffled(targets: Sequence[Target], number: int, *, chance: random.Random) -> list[Target]:
    """The targets in random order, each equally often."""
    order = [targets[position % len(targets)] for position in range(number)]
    chance.shuffle(order)
    return order


def inject(service: Service, target: Target, *, chance: random.Random) -> float:
    """Inject a fault and restart what an orchestrator restarts; returns the seconds until the service is ready."""
    began = time.monotonic()
    match target:
        case "mailer":
            return kill_mailer(service)
        case "worker":
            kill(chance.choice(service.workers()))
        case "master":
            service.api.kill()
            began = time.monotonic()
            service.api.start()
            # Workers of the old master may respond until they detect that their parent is gone.
            wait_until(service.workers, within=RECOVERY_TIMEOUT, what="the API is up", every=0.05)
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
            return rotate_keys(service)
        case _:
            began = interrupt(service, target, chance=chance)
    wait_until(
        lambda: service.status("/health/ready") == 200, within=RECOVERY_TIMEOUT, what="the service is ready", every=0.01
    )
    return time.monotonic() - began


def interrupt(service: Service, target: Target, *, chance: random.Random) -> float:
    """Stop or freeze a server for a random time; returns the moment of its repair, in monotonic seconds."""
    name, _, fault = target.partition(" ")
    server = service.engines.postgres if name == "postgres" else service.engines.redis
    with inject_fault(server, "frozen" if fault == "frozen" else "refused"):
        time.sleep(chance.uniform(0, MAX_FAULT_SECONDS))
    return time.monotonic()


def rotate_keys(service: Service) -> float:
    """Rotate the signing keys; returns the seconds that the command took."""
    began = time.monotonic()
    # `--now` skips the waiting time for JWKS caches: no client here has one.
    rotation = service.program("rotation", "keys", "rotate", "--now")
    rotation.start()
    assert rotation.wait(RECOVERY_TIMEOUT) == 0, rotation.output()
    return time.monotonic() - began


def kill_mailer(service: Service) -> float:
    """Kill the mail worker; returns the seconds until a new one has started."""
    service.mailer.kill()
    began = time.monotonic()
    service.mailer.start()
    service.wait_until_mail_workers_run()
    return time.monotonic() - began


def outbox_is_empty(service: Service) -> bool:
    return not service.sql("SELECT id FROM letters WHERE state = 'waiting'")


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: round(ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)], 3)
        for name, part in (("p50", 0.5), ("p99", 0.99))
    }
