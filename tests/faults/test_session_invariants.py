"""The laws notice what they are for: a story that obeys them all, and one lie at a time."""

import base64
import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from tests.faults.account_client import Pair
from tests.faults.client import Answer, AuditEntry
from tests.faults.ledger import PORTAL, Aftermath, Ledger, User
from tests.faults.recorded_sessions import sessions_of
from tests.faults.session_invariants import EventRow, SessionLaws, SessionRow

ADA = "ada@example.org"
ONE, TWO, THREE, FOUR = (str(uuid.UUID(int=number)) for number in range(1, 5))
HASHER = PasswordHasher(at_once=1)
SECOND_HASH = HASHER.hash("the second one")


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def pair(session: str, counter: int, *, roles: list[str] = PORTAL, branch: bytes = b"m") -> Pair:
    """Tokens in the form of ours, under nobody's key."""
    claims = json.dumps({"sid": session, "roles": roles}).encode()
    return Pair(
        access=f"{encoded(b'{}')}.{encoded(claims)}.{counter}",
        refresh=encoded(uuid.UUID(session).bytes + counter.to_bytes(8) + branch * 32),
    )


@dataclass(kw_only=True)
class Story:
    """The requests of a user, and the state afterwards."""

    entries: list[AuditEntry] = field(default_factory=list)
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    events: list[EventRow] = field(default_factory=list)
    version: int = 2
    is_gone: bool = False
    notifications: Counter[tuple[str, str]] = field(default_factory=Counter)
    accepted: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    refused: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    password_hash: str = SECOND_HASH

    def did(self, step: str, *, given: Pair | None = None, status: int | None = 200, **credential: str) -> None:
        """Add a request and its answer; None for an answer that got lost."""
        data = {"access_token": given.access, "refresh_token": given.refresh} if given else {}
        answer = None
        if status is not None:
            error = {"code": "token_invalid" if "token" in credential else "refresh_rejected"} if status == 401 else {}
            body = json.dumps({"success": status == 200, "data": data, "error": error}).encode()
            answer = Answer(status=status, headers={"content-type": "application/json"}, body=body, seconds=0.1)
        at = float(len(self.entries))
        self.entries.append(AuditEntry(step=step, email=ADA, answer=answer, seconds=0.1, at=at, **credential))

    def broken(self) -> set[str]:
        """The laws that this breaks."""
        ledger = Ledger(entries=self.entries)
        laws = SessionLaws(
            ledger=ledger,
            sessions=self.sessions,
            events=self.events,
            versions={} if self.is_gone else {ADA: self.version},
            notifications=self.notifications,
            held=sessions_of(ledger),
            accepted=self.accepted,
            refused=self.refused,
        )
        user = User(id=1, verified=True, password_hash=self.password_hash, roles=PORTAL)
        aftermath = Aftermath(ledger=ledger, users={} if self.is_gone else {ADA: user}, letters={}, mail=[])
        return {law.partition(":")[0] for law in [*laws.broken_laws(), *aftermath.broken_laws()]}


def row(counter: int, reason: str | None = None, *, recovered_since: bool = False) -> SessionRow:
    return SessionRow(
        email=ADA, counter=counter, ended=reason is not None, end_reason=reason, recovered_since=recovered_since
    )


def event(kind: str, session: str | None = None) -> EventRow:
    return EventRow(email=ADA, kind=kind, session=session)


@pytest.fixture
def story() -> Story:
    """Four sessions: signed out, stolen, ended by a recovery whose first answer got lost, and one that lives."""
    story = Story()
    story.did("finish", chosen="the first one")
    for session in (ONE, TWO, THREE):
        story.did("sign_in", credential="the first one", given=pair(session, 0))
    story.did("refresh", credential=pair(ONE, 0).refresh, given=pair(ONE, 1))
    story.did("refresh", credential=pair(ONE, 0).refresh, given=pair(ONE, 1))
    story.did("sign_out", token=pair(ONE, 1).access)
    story.did("me", token=pair(ONE, 1).access, status=401)
    for counter in range(3):
        story.did("refresh", credential=pair(TWO, counter).refresh, given=pair(TWO, counter + 1))
    story.did("replay", credential=pair(TWO, 0).refresh, status=401)
    story.did("recover", credential="111111", chosen="the second one", status=None)
    story.did("recover", credential="222222", chosen="the second one")
    story.did("sign_in", credential="the second one", given=pair(FOUR, 0))
    story.did("me", token=pair(FOUR, 0).access)
    story.did("move", credential="333333", token=pair(FOUR, 0).access)
    story.sessions = {
        ONE: row(1, "signed_out", recovered_since=True),
        TWO: row(3, "refresh_reused", recovered_since=True),
        THREE: row(0, "password_recovered", recovered_since=True),
        FOUR: row(0),
    }
    story.events = [
        *(event("signed_in", session) for session in (ONE, TWO, THREE)),
        event("signed_out", ONE),
        event("refresh_reused", TWO),
        event("session_ended", THREE),
        event("password_recovered"),
        event("signed_in", FOUR),
        event("email_changed", FOUR),
    ]
    story.notifications = Counter(
        {(ADA, kind): 1 for kind in ("password_recovered", "refresh_reused", "email_changed")}
    )
    story.accepted = {FOUR: (True, True)}
    story.refused = dict.fromkeys((ONE, TWO, THREE), (True, True))
    return story


def test_a_story_without_lies_breaks_no_law(story: Story) -> None:
    assert sessions_of(Ledger(entries=story.entries)).keys() == story.sessions.keys()
    assert story.broken() == set()


def _without(kind: str) -> Callable[[Story], Any]:
    def lie(story: Story) -> None:
        story.events = [each for each in story.events if each.kind != kind]

    return lie


@pytest.fixture
def farewell(story: Story) -> Story:
    """After all this Ada deletes her account, and the answer gets lost."""
    story.did("leave", credential="444444", token=pair(FOUR, 0).access, status=None)
    story.did("leave", credential="444444", token=pair(FOUR, 0).access, status=401)
    story.is_gone = True
    story.sessions, story.events, story.accepted = {}, [], {}
    story.refused = dict.fromkeys((ONE, TWO, THREE, FOUR), (True, True))
    return story


def test_a_deleted_user_violates_no_law(farewell: Story) -> None:
    assert farewell.broken() == set()


def test_no_token_outlives_its_owner(farewell: Story) -> None:
    farewell.refused[FOUR] = False, True

    assert farewell.broken() == {"L2"}


def test_no_session_outlives_its_owner(farewell: Story) -> None:
    farewell.sessions = {FOUR: row(0)}

    assert "L8" in farewell.broken()


def test_a_user_whose_deletion_was_refused_still_exists(story: Story) -> None:
    story.did("leave", credential="444444", token=pair(FOUR, 0).access, status=401)

    assert story.broken() == {"L1"}


LIES: dict[str, tuple[str, Callable[[Story], Any]]] = {
    "the old password fits": ("L1", lambda it: setattr(it, "password_hash", HASHER.hash("the first one"))),
    "no password fits": ("L1", lambda it: setattr(it, "password_hash", HASHER.hash("a third one"))),
    "the old password opens": ("L1", lambda it: it.did("sign_in", credential="the first one", given=pair(FOUR, 0))),
    "a session is gone": ("L1", lambda it: it.sessions.pop(FOUR)),
    "a living session is refused": ("L1", lambda it: it.did("me", token=pair(FOUR, 0).access, status=401)),
    "its newest tokens are refused": ("L1", lambda it: it.accepted.update({FOUR: (True, False)})),
    "roles of another user": (
        "L1",
        lambda it: it.did("refresh", credential=pair(FOUR, 0).refresh, given=pair(FOUR, 1, roles=[*PORTAL, *PORTAL])),
    ),
    "accepted after the sign-out": ("L2", lambda it: it.did("me", token=pair(ONE, 0).access)),
    "refreshed after the theft": (
        "L2",
        lambda it: it.did("refresh", credential=pair(TWO, 3).refresh, given=pair(TWO, 4)),
    ),
    "accepted after the recovery": ("L2", lambda it: it.did("me", token=pair(THREE, 0).access)),
    "an access token comes back": ("L2", lambda it: it.refused.update({ONE: (False, True)})),
    "a refresh token comes back": ("L2", lambda it: it.refused.update({THREE: (True, False)})),
    "a code works twice": ("L3", lambda it: it.did("recover", credential="222222", chosen="the second one")),
    "two successors": (
        "L4",
        lambda it: it.did("refresh", credential=pair(ONE, 0).refresh, given=pair(ONE, 1, branch=b"n")),
    ),
    "a counter is left out": (
        "L4",
        lambda it: it.did("refresh", credential=pair(FOUR, 0).refresh, given=pair(FOUR, 2)),
    ),
    "the row is behind": ("L4", lambda it: it.sessions.update({TWO: row(2, "refresh_reused")})),
    "a token is accepted again": (
        "L4",
        lambda it: it.did("replay", credential=pair(TWO, 0).refresh, given=pair(TWO, 1)),
    ),
    "a version without a change": ("L6", lambda it: setattr(it, "version", 3)),
    "a change without a version": ("L6", lambda it: setattr(it, "version", 1)),
    "nobody was told of the move": ("L6", lambda it: it.notifications.pop((ADA, "email_changed"))),
    "a move is not in the history": ("L8", _without("email_changed")),
    "gone without having asked for it": ("L1", lambda it: setattr(it, "is_gone", True)),
    "a session outlives a recovery": ("L6", lambda it: it.sessions.update({FOUR: row(0, recovered_since=True)})),
    "nobody was told": ("L6", lambda it: it.notifications.pop((ADA, "password_recovered"))),
    "it took too long": ("L7", lambda it: it.entries.append(replace(it.entries[-1], seconds=7.0))),
    "it crashed": ("L7", lambda it: it.did("me", token=pair(FOUR, 0).access, status=500)),
    "a sign-in is not in the history": ("L8", _without("signed_in")),
    "a sign-out is not in the history": ("L8", _without("signed_out")),
    "a theft is not in the history": ("L8", _without("refresh_reused")),
    "a recovery is not in the history": ("L8", _without("password_recovered")),
    "two ends": ("L8", lambda it: it.events.append(event("session_ended", ONE))),
    "an end without effect": ("L8", lambda it: it.events.append(event("signed_out", FOUR))),
    "a session that never was": ("L8", lambda it: it.events.append(event("signed_in", str(uuid.UUID(int=9))))),
    "more recoveries than were asked for": (
        "L8",
        lambda it: it.events.extend([event("password_recovered")] * 2),
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_breaks_its_law(lie: str, story: Story) -> None:
    law, tell = LIES[lie]
    tell(story)

    assert law in story.broken()
