"""The laws of accounts notice what they are for: people who moved and left, and one lie at a time."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.account_invariants import AccountLaws
from tests.faults.client import Answer, AuditEntry
from tests.faults.ledger import Aftermath, Ledger

ADA, BOB, EVE = "ada@example.org", "bob@example.org", "eve@example.org"
"""Ada moves twice, Bob moves and leaves, Eve leaves; of Ada's first move and of Eve's leaving the answers got lost."""


def at(who: str, number: int) -> str:
    """The address that a user moves to."""
    return f"{number}-{who}"


@dataclass(kw_only=True)
class Story:
    """What people did, and what was there when it was over."""

    entries: list[AuditEntry] = field(default_factory=list)
    rows: dict[str, list[str]] = field(default_factory=dict)
    letters: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    deletions: int = 2
    ghosts: int = 0
    known: dict[str, bool] = field(default_factory=dict)
    free: dict[str, bool] = field(default_factory=dict)

    def did(self, email: str, step: str, *, to: str | None = None, status: int | None = 200) -> None:
        """Add a request and its answer; None for an answer that got lost."""
        answer = None
        if status is not None:
            body = json.dumps({"success": status == 200}).encode()
            answer = Answer(status=status, headers={"content-type": "application/json"}, body=body, seconds=0.1)
        moment = float(len(self.entries))
        self.entries.append(AuditEntry(step=step, email=email, to=to, answer=answer, seconds=0.1, at=moment))

    def broken(self) -> set[str]:
        """The laws that this breaks."""
        ledger = Ledger(entries=self.entries)
        laws = AccountLaws(
            ledger=ledger,
            rows=self.rows,
            letters=self.letters,
            deletions=self.deletions,
            ghosts=self.ghosts,
            known=self.known,
            free=self.free,
        )
        aftermath = Aftermath(ledger=ledger, users={}, letters={}, mail=[])
        finished = [law for law in aftermath.broken_laws() if "finished" in law]
        return {law.partition(":")[0] for law in [*laws.broken_laws(), *finished]}


@pytest.fixture
def story() -> Story:
    story = Story()
    story.did(BOB, "finish")
    story.did(EVE, "finish")
    story.did(ADA, "sign_in")
    story.did(ADA, "move", to=at(ADA, 1), status=None)
    story.did(ADA, "sign_in", to=at(ADA, 1))
    story.did(ADA, "move", to=at(ADA, 2))
    story.did(ADA, "sign_in", to=at(ADA, 2))
    story.did(BOB, "move", to=at(BOB, 1))
    story.did(BOB, "leave", to=at(BOB, 1))
    story.did(BOB, "me", to=at(BOB, 1), status=401)
    story.did(EVE, "leave", status=None)
    story.did(EVE, "leave", status=401)
    story.rows = {ADA: [at(ADA, 2)]}
    story.letters = {
        (ADA, "email_changed"): ["sent"],
        (at(ADA, 1), "email_changed"): ["sent"],
        # Withdrawn by the deletion, which tells him at both addresses.
        (BOB, "email_changed"): ["expired"],
        (BOB, "account_deleted"): ["sent"],
        (at(BOB, 1), "account_deleted"): ["sent"],
        (EVE, "account_deleted"): ["sent"],
    }
    story.known = {ADA: False, at(ADA, 1): False, at(ADA, 2): True}
    story.free = dict.fromkeys((BOB, at(BOB, 1), EVE), True)
    return story


def test_a_story_without_lies_breaks_no_law(story: Story) -> None:
    assert story.broken() == set()


def test_what_nobody_acknowledged_may_have_been_done_or_not(story: Story) -> None:
    story.rows[EVE] = [EVE]
    del story.letters[EVE, "account_deleted"], story.free[EVE]
    story.deletions = 1
    story.did(EVE, "move", to=at(EVE, 1), status=503)

    assert story.broken() == set()

    story.rows[EVE] = [at(EVE, 1)]
    story.letters[EVE, "email_changed"] = ["sent"]
    story.known |= {EVE: False, at(EVE, 1): True}

    assert story.broken() == set()


LIES: dict[str, tuple[str, Callable[[Story], Any]]] = {
    "the old address is back": ("L1", lambda it: it.rows.update({ADA: [at(ADA, 1)]})),
    "one account at two addresses": ("L1", lambda it: it.rows.update({ADA: [at(ADA, 1), at(ADA, 2)]})),
    "an address that nobody wanted": ("L1", lambda it: it.rows.update({ADA: [at(ADA, 3)]})),
    "the old address opens the door": ("L1", lambda it: it.known.update({ADA: True})),
    "the new address does not": ("L1", lambda it: it.known.update({at(ADA, 2): False})),
    "the old address opened the door": ("L1", lambda it: it.did(ADA, "sign_in", to=at(ADA, 1))),
    "a code for the old address did": ("L1", lambda it: it.did(ADA, "sign_in_by_code")),
    "gone without having asked for it": ("L1", lambda it: it.did("zoe@example.org", "finish")),
    "the account is back": ("L2", lambda it: it.rows.update({BOB: [at(BOB, 1)]})),
    "its tokens are accepted": ("L2", lambda it: it.did(BOB, "refresh", to=at(BOB, 1))),
    "it was deleted twice": ("L2", lambda it: it.did(BOB, "leave", to=at(BOB, 1))),
    "its address is taken": ("L2", lambda it: it.free.update({at(BOB, 1): False})),
    "a lost deletion leaves the address taken": ("L2", lambda it: it.free.update({EVE: False})),
    "nobody was told of the move": ("L5", lambda it: it.letters.pop((at(ADA, 1), "email_changed"))),
    "told of the move twice": ("L5", lambda it: it.letters.update({(ADA, "email_changed"): ["sent", "sent"]})),
    "told of the move at the new address": (
        "L5",
        lambda it: it.letters.update({(at(ADA, 2), "email_changed"): ["sent"]}),
    ),
    "the word of the move was not sent": ("L5", lambda it: it.letters.update({(ADA, "email_changed"): ["dead"]})),
    "told of a deletion that was none": (
        "L5",
        lambda it: it.letters.update({(at(ADA, 2), "account_deleted"): ["sent"]}),
    ),
    "nobody was told of the deletion": ("L5", lambda it: it.letters.pop((EVE, "account_deleted"))),
    "not at the address before": ("L5", lambda it: it.letters.pop((BOB, "account_deleted"))),
    "not at the last address": ("L5", lambda it: it.letters.pop((at(BOB, 1), "account_deleted"))),
    "told of the deletion twice": ("L5", lambda it: it.letters.update({(EVE, "account_deleted"): ["sent", "sent"]})),
    "the word of the deletion was not sent": (
        "L5",
        lambda it: it.letters.update({(EVE, "account_deleted"): ["expired"]}),
    ),
    "a deletion is not in the history": ("L8", lambda it: setattr(it, "deletions", 1)),
    "a deletion is there that was none": ("L8", lambda it: setattr(it, "deletions", 3)),
    "the history says whose it was": ("L8", lambda it: setattr(it, "ghosts", 1)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_breaks_its_law(lie: str, story: Story) -> None:
    law, tell = LIES[lie]
    tell(story)

    assert law in story.broken()
