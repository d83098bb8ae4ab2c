"""The session invariants detect each violation: a valid run with one violation added in each test."""

import base64
import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from tests.faults.account_client import TokenPair
from tests.faults.client import RecordedRequest, Response
from tests.faults.ledger import PORTAL, FinalState, Ledger, UserRow
from tests.faults.recorded_sessions import recorded_sessions_of
from tests.faults.session_invariants import EventRow, SessionInvariants, SessionRow

ADA = "ada@example.org"
ONE, TWO, THREE, FOUR = (str(uuid.UUID(int=number)) for number in range(1, 5))
HASHER = PasswordHasher(concurrent=1)
SECOND_HASH = HASHER.hash("the second one")


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def pair(session: str, counter: int, *, roles: list[str] = PORTAL, branch: bytes = b"m") -> TokenPair:
    """Tokens in the format of the service, without a valid signature."""
    claims = json.dumps({"sid": session, "roles": roles}).encode()
    return TokenPair(
        access=f"{encoded(b'{}')}.{encoded(claims)}.{counter}",
        refresh=encoded(uuid.UUID(session).bytes + counter.to_bytes(8) + branch * 32),
    )


@dataclass(kw_only=True)
class RecordedRun:
    """The requests of a user and the state after the run."""

    entries: list[RecordedRequest] = field(default_factory=list)
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    events: list[EventRow] = field(default_factory=list)
    version: int = 2
    is_deleted: bool = False
    notifications: Counter[tuple[str, str]] = field(default_factory=Counter)
    accepted: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    rejected: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    password_hash: str = SECOND_HASH

    def record(
        self, step: str, *, issued: TokenPair | None = None, status: int | None = 200, **credential: str
    ) -> None:
        """Add a request; the status is None for a lost response."""
        data = {"access_token": issued.access, "refresh_token": issued.refresh} if issued else {}
        response = None
        if status is not None:
            error = {"code": "token_invalid" if "token" in credential else "refresh_rejected"} if status == 401 else {}
            body = json.dumps({"success": status == 200, "data": data, "error": error}).encode()
            response = Response(status=status, headers={"content-type": "application/json"}, body=body, seconds=0.1)
        at = float(len(self.entries))
        self.entries.append(RecordedRequest(step=step, email=ADA, response=response, seconds=0.1, at=at, **credential))

    def violated(self) -> set[str]:
        """The ids of the violated invariants."""
        ledger = Ledger(entries=self.entries)
        invariants = SessionInvariants(
            ledger=ledger,
            sessions=self.sessions,
            events=self.events,
            versions={} if self.is_deleted else {ADA: self.version},
            notifications=self.notifications,
            recorded=recorded_sessions_of(ledger),
            accepted=self.accepted,
            rejected=self.rejected,
        )
        user = UserRow(id=1, verified=True, password_hash=self.password_hash, roles=PORTAL)
        final_state = FinalState(ledger=ledger, users={} if self.is_deleted else {ADA: user}, outbox={}, received=[])
        return {violation.partition(":")[0] for violation in [*invariants.violations(), *final_state.violations()]}


def row(counter: int, reason: str | None = None, *, reset_since: bool = False) -> SessionRow:
    return SessionRow(
        email=ADA, counter=counter, revoked=reason is not None, end_reason=reason, reset_since=reset_since
    )


def event(kind: str, session: str | None = None) -> EventRow:
    return EventRow(email=ADA, kind=kind, session=session)


@pytest.fixture
def run() -> RecordedRun:
    """Sessions ended by sign-out, reuse detection and a password reset with one lost response; and an active one."""
    run = RecordedRun()
    run.record("finish", new_password="the first one")
    for session in (ONE, TWO, THREE):
        run.record("sign_in", credential="the first one", issued=pair(session, 0))
    run.record("refresh", credential=pair(ONE, 0).refresh, issued=pair(ONE, 1))
    run.record("refresh", credential=pair(ONE, 0).refresh, issued=pair(ONE, 1))
    run.record("sign_out", token=pair(ONE, 1).access)
    run.record("me", token=pair(ONE, 1).access, status=401)
    for counter in range(3):
        run.record("refresh", credential=pair(TWO, counter).refresh, issued=pair(TWO, counter + 1))
    run.record("replay", credential=pair(TWO, 0).refresh, status=401)
    run.record("reset_password", credential="111111", new_password="the second one", status=None)
    run.record("reset_password", credential="222222", new_password="the second one")
    run.record("sign_in", credential="the second one", issued=pair(FOUR, 0))
    run.record("me", token=pair(FOUR, 0).access)
    run.record("change_email", credential="333333", token=pair(FOUR, 0).access)
    run.sessions = {
        ONE: row(1, "signed_out", reset_since=True),
        TWO: row(3, "refresh_reused", reset_since=True),
        THREE: row(0, "password_recovered", reset_since=True),
        FOUR: row(0),
    }
    run.events = [
        *(event("signed_in", session) for session in (ONE, TWO, THREE)),
        event("signed_out", ONE),
        event("refresh_reused", TWO),
        event("session_ended", THREE),
        event("password_recovered"),
        event("signed_in", FOUR),
        event("email_changed", FOUR),
    ]
    run.notifications = Counter({(ADA, kind): 1 for kind in ("password_recovered", "refresh_reused", "email_changed")})
    run.accepted = {FOUR: (True, True)}
    run.rejected = dict.fromkeys((ONE, TWO, THREE), (True, True))
    return run


def test_a_valid_run_violates_no_invariant(run: RecordedRun) -> None:
    assert recorded_sessions_of(Ledger(entries=run.entries)).keys() == run.sessions.keys()
    assert run.violated() == set()


def _without(kind: str) -> Callable[[RecordedRun], Any]:
    def violation(run: RecordedRun) -> None:
        run.events = [each for each in run.events if each.kind != kind]

    return violation


@pytest.fixture
def run_with_deletion(run: RecordedRun) -> RecordedRun:
    """The run continues with a deletion of the account, whose response is lost."""
    run.record("delete_account", credential="444444", token=pair(FOUR, 0).access, status=None)
    run.record("delete_account", credential="444444", token=pair(FOUR, 0).access, status=401)
    run.is_deleted = True
    run.sessions, run.events, run.accepted = {}, [], {}
    run.rejected = dict.fromkeys((ONE, TWO, THREE, FOUR), (True, True))
    return run


def test_a_deleted_user_violates_no_invariant(run_with_deletion: RecordedRun) -> None:
    assert run_with_deletion.violated() == set()


def test_a_token_that_outlives_its_user_is_detected(run_with_deletion: RecordedRun) -> None:
    run_with_deletion.rejected[FOUR] = False, True

    assert run_with_deletion.violated() == {"L2"}


def test_a_session_that_outlives_its_user_is_detected(run_with_deletion: RecordedRun) -> None:
    run_with_deletion.sessions = {FOUR: row(0)}

    assert "L8" in run_with_deletion.violated()


def test_a_deleted_account_after_a_rejected_deletion_is_detected(run: RecordedRun) -> None:
    run.record("delete_account", credential="444444", token=pair(FOUR, 0).access, status=401)

    assert run.violated() == {"L1"}


VIOLATIONS: dict[str, tuple[str, Callable[[RecordedRun], Any]]] = {
    "the replaced password matches": ("L1", lambda run: setattr(run, "password_hash", HASHER.hash("the first one"))),
    "no password matches": ("L1", lambda run: setattr(run, "password_hash", HASHER.hash("a third one"))),
    "the replaced password signs in": (
        "L1",
        lambda run: run.record("sign_in", credential="the first one", issued=pair(FOUR, 0)),
    ),
    "a session is missing": ("L1", lambda run: run.sessions.pop(FOUR)),
    "an active session is rejected": ("L1", lambda run: run.record("me", token=pair(FOUR, 0).access, status=401)),
    "the newest refresh token is rejected": ("L1", lambda run: run.accepted.update({FOUR: (True, False)})),
    "a token has the roles of another user": (
        "L1",
        lambda run: run.record(
            "refresh", credential=pair(FOUR, 0).refresh, issued=pair(FOUR, 1, roles=[*PORTAL, *PORTAL])
        ),
    ),
    "a token is accepted after the sign-out": ("L2", lambda run: run.record("me", token=pair(ONE, 0).access)),
    "a refresh succeeds after reuse detection": (
        "L2",
        lambda run: run.record("refresh", credential=pair(TWO, 3).refresh, issued=pair(TWO, 4)),
    ),
    "a token is accepted after the password reset": ("L2", lambda run: run.record("me", token=pair(THREE, 0).access)),
    "an access token of a revoked session is accepted after the run": (
        "L2",
        lambda run: run.rejected.update({ONE: (False, True)}),
    ),
    "a refresh token of a revoked session is accepted after the run": (
        "L2",
        lambda run: run.rejected.update({THREE: (True, False)}),
    ),
    "a code is accepted twice": (
        "L3",
        lambda run: run.record("reset_password", credential="222222", new_password="the second one"),
    ),
    "a refresh token has two successors": (
        "L4",
        lambda run: run.record("refresh", credential=pair(ONE, 0).refresh, issued=pair(ONE, 1, branch=b"n")),
    ),
    "a counter is skipped": (
        "L4",
        lambda run: run.record("refresh", credential=pair(FOUR, 0).refresh, issued=pair(FOUR, 2)),
    ),
    "the row has an older counter": ("L4", lambda run: run.sessions.update({TWO: row(2, "refresh_reused")})),
    "a replayed refresh token is accepted": (
        "L4",
        lambda run: run.record("replay", credential=pair(TWO, 0).refresh, issued=pair(TWO, 1)),
    ),
    "a credential version without a change": ("L6", lambda run: setattr(run, "version", 3)),
    "a change without a credential version": ("L6", lambda run: setattr(run, "version", 1)),
    "no notification of a change of address": ("L6", lambda run: run.notifications.pop((ADA, "email_changed"))),
    "a change of address is missing from the audit log": ("L8", _without("email_changed")),
    "an account is missing without a deletion request": ("L1", lambda run: setattr(run, "is_deleted", True)),
    "a session outlives a password reset": ("L6", lambda run: run.sessions.update({FOUR: row(0, reset_since=True)})),
    "no notification of a password reset": ("L6", lambda run: run.notifications.pop((ADA, "password_recovered"))),
    "a response is late": ("L7", lambda run: run.entries.append(replace(run.entries[-1], seconds=7.0))),
    "a response has status 500": ("L7", lambda run: run.record("me", token=pair(FOUR, 0).access, status=500)),
    "a sign-in is missing from the audit log": ("L8", _without("signed_in")),
    "a sign-out is missing from the audit log": ("L8", _without("signed_out")),
    "reuse detection is missing from the audit log": ("L8", _without("refresh_reused")),
    "a password reset is missing from the audit log": ("L8", _without("password_recovered")),
    "a session was revoked twice": ("L8", lambda run: run.events.append(event("session_ended", ONE))),
    "a revocation without effect": ("L8", lambda run: run.events.append(event("signed_out", FOUR))),
    "a sign-in without a session": (
        "L8",
        lambda run: run.events.append(event("signed_in", str(uuid.UUID(int=9)))),
    ),
    "more password resets than requests": (
        "L8",
        lambda run: run.events.extend([event("password_recovered")] * 2),
    ),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_violation_is_detected(violation: str, run: RecordedRun) -> None:
    invariant, apply = VIOLATIONS[violation]
    apply(run)

    assert invariant in run.violated()
