"""The account invariants detect each violation: a valid run with one violation added in each test."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.account_invariants import AccountInvariants
from tests.faults.client import RecordedRequest, Response
from tests.faults.ledger import FinalState, Ledger

ADA, BOB, EVE = "ada@example.org", "bob@example.org", "eve@example.org"
"""Ada changes her address twice, Bob changes his and deletes his account, Eve deletes hers. The responses to Ada's
first change and to Eve's deletion are lost."""


def new_address(email: str, number: int) -> str:
    """The address of a user after a change."""
    return f"{number}-{email}"


@dataclass(kw_only=True)
class RecordedRun:
    """The requests of three users and the state after the run."""

    entries: list[RecordedRequest] = field(default_factory=list)
    rows: dict[str, list[str]] = field(default_factory=dict)
    notifications: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    deletions: int = 2
    orphaned_events: int = 0
    can_sign_in: dict[str, bool] = field(default_factory=dict)
    free: dict[str, bool] = field(default_factory=dict)

    def record(self, email: str, step: str, *, to: str | None = None, status: int | None = 200) -> None:
        """Add a request; the status is None for a lost response."""
        response = None
        if status is not None:
            body = json.dumps({"success": status == 200}).encode()
            response = Response(status=status, headers={"content-type": "application/json"}, body=body, seconds=0.1)
        moment = float(len(self.entries))
        self.entries.append(RecordedRequest(step=step, email=email, to=to, response=response, seconds=0.1, at=moment))

    def violated(self) -> set[str]:
        """The ids of the violated invariants."""
        ledger = Ledger(entries=self.entries)
        invariants = AccountInvariants(
            ledger=ledger,
            rows=self.rows,
            notifications=self.notifications,
            deletions=self.deletions,
            orphaned_events=self.orphaned_events,
            can_sign_in=self.can_sign_in,
            free=self.free,
        )
        final_state = FinalState(ledger=ledger, users={}, outbox={}, received=[])
        finished = [violation for violation in final_state.violations() if "finished" in violation]
        return {violation.partition(":")[0] for violation in [*invariants.violations(), *finished]}


@pytest.fixture
def run() -> RecordedRun:
    run = RecordedRun()
    run.record(BOB, "finish")
    run.record(EVE, "finish")
    run.record(ADA, "sign_in")
    run.record(ADA, "change_email", to=new_address(ADA, 1), status=None)
    run.record(ADA, "sign_in", to=new_address(ADA, 1))
    run.record(ADA, "change_email", to=new_address(ADA, 2))
    run.record(ADA, "sign_in", to=new_address(ADA, 2))
    run.record(BOB, "change_email", to=new_address(BOB, 1))
    run.record(BOB, "delete_account", to=new_address(BOB, 1))
    run.record(BOB, "me", to=new_address(BOB, 1), status=401)
    run.record(EVE, "delete_account", status=None)
    run.record(EVE, "delete_account", status=401)
    run.rows = {ADA: [new_address(ADA, 2)]}
    run.notifications = {
        (ADA, "email_changed"): ["sent"],
        (new_address(ADA, 1), "email_changed"): ["sent"],
        # Cancelled by the deletion, whose notification goes to both addresses.
        (BOB, "email_changed"): ["expired"],
        (BOB, "account_deleted"): ["sent"],
        (new_address(BOB, 1), "account_deleted"): ["sent"],
        (EVE, "account_deleted"): ["sent"],
    }
    run.can_sign_in = {ADA: False, new_address(ADA, 1): False, new_address(ADA, 2): True}
    run.free = dict.fromkeys((BOB, new_address(BOB, 1), EVE), True)
    return run


def test_a_valid_run_violates_no_invariant(run: RecordedRun) -> None:
    assert run.violated() == set()


def test_a_request_without_an_acknowledgement_may_or_may_not_take_effect(run: RecordedRun) -> None:
    run.rows[EVE] = [EVE]
    del run.notifications[EVE, "account_deleted"], run.free[EVE]
    run.deletions = 1
    run.record(EVE, "change_email", to=new_address(EVE, 1), status=503)

    assert run.violated() == set()

    run.rows[EVE] = [new_address(EVE, 1)]
    run.notifications[EVE, "email_changed"] = ["sent"]
    run.can_sign_in |= {EVE: False, new_address(EVE, 1): True}

    assert run.violated() == set()


VIOLATIONS: dict[str, tuple[str, Callable[[RecordedRun], Any]]] = {
    "the address is the former one": ("L1", lambda run: run.rows.update({ADA: [new_address(ADA, 1)]})),
    "an account has two addresses": (
        "L1",
        lambda run: run.rows.update({ADA: [new_address(ADA, 1), new_address(ADA, 2)]}),
    ),
    "an address without a request": ("L1", lambda run: run.rows.update({ADA: [new_address(ADA, 3)]})),
    "a former address can sign in": ("L1", lambda run: run.can_sign_in.update({ADA: True})),
    "the current address cannot sign in": ("L1", lambda run: run.can_sign_in.update({new_address(ADA, 2): False})),
    "a former address signed in by password": ("L1", lambda run: run.record(ADA, "sign_in", to=new_address(ADA, 1))),
    "a former address signed in by code": ("L1", lambda run: run.record(ADA, "sign_in_by_code")),
    "an account is missing without a deletion request": ("L1", lambda run: run.record("zoe@example.org", "finish")),
    "a deleted account exists": ("L2", lambda run: run.rows.update({BOB: [new_address(BOB, 1)]})),
    "a token of a deleted account is accepted": ("L2", lambda run: run.record(BOB, "refresh", to=new_address(BOB, 1))),
    "an account was deleted twice": ("L2", lambda run: run.record(BOB, "delete_account", to=new_address(BOB, 1))),
    "the address of a deleted account is taken": ("L2", lambda run: run.free.update({new_address(BOB, 1): False})),
    "the address is taken after a deletion with a lost response": ("L2", lambda run: run.free.update({EVE: False})),
    "no notification of a change": ("L5", lambda run: run.notifications.pop((new_address(ADA, 1), "email_changed"))),
    "two notifications of a change": (
        "L5",
        lambda run: run.notifications.update({(ADA, "email_changed"): ["sent", "sent"]}),
    ),
    "a notification of a change to the new address": (
        "L5",
        lambda run: run.notifications.update({(new_address(ADA, 2), "email_changed"): ["sent"]}),
    ),
    "the notification of a change was not sent": (
        "L5",
        lambda run: run.notifications.update({(ADA, "email_changed"): ["dead"]}),
    ),
    "a notification without a deletion": (
        "L5",
        lambda run: run.notifications.update({(new_address(ADA, 2), "account_deleted"): ["sent"]}),
    ),
    "no notification of a deletion": ("L5", lambda run: run.notifications.pop((EVE, "account_deleted"))),
    "no notification of a deletion to the former address": (
        "L5",
        lambda run: run.notifications.pop((BOB, "account_deleted")),
    ),
    "no notification of a deletion to the last address": (
        "L5",
        lambda run: run.notifications.pop((new_address(BOB, 1), "account_deleted")),
    ),
    "two notifications of a deletion": (
        "L5",
        lambda run: run.notifications.update({(EVE, "account_deleted"): ["sent", "sent"]}),
    ),
    "the notification of a deletion was not sent": (
        "L5",
        lambda run: run.notifications.update({(EVE, "account_deleted"): ["expired"]}),
    ),
    "a deletion is missing from the audit log": ("L8", lambda run: setattr(run, "deletions", 1)),
    "the audit log has a deletion too many": ("L8", lambda run: setattr(run, "deletions", 3)),
    "the audit log has the id of a deleted user": ("L8", lambda run: setattr(run, "orphaned_events", 1)),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_violation_is_detected(violation: str, run: RecordedRun) -> None:
    invariant, apply = VIOLATIONS[violation]
    apply(run)

    assert invariant in run.violated()
