"""Session invariants L1, L2, L4, L6 and L8: the ledger compared with sessions, tokens and the audit log."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults import recorded_sessions
from tests.faults.account_client import TokenPair, has_expired, position_of, roles_of, session_of_request
from tests.faults.client import RecordedRequest
from tests.faults.ledger import PORTAL, Ledger
from tests.faults.recorded_sessions import REVOKES_OTHERS, RecordedSession
from tests.faults.service import Service

CHANGES = {
    "reset_password": "password_recovered",
    "change_password": "password_changed",
    "change_email": "email_changed",
}
"""The audit event of each step that changes password or address."""
SESSION_END_EVENTS = {"signed_out": "signed_out", "refresh_reused": "refresh_reused"}
"""The audit event of a revocation by its reason; for all other reasons it is `session_ended`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRow:
    """A row of `sessions`, with the address of its user."""

    email: str
    counter: int
    revoked: bool
    end_reason: str | None
    reset_since: bool
    """Whether its user reset the password after the sign-in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRow:
    """A row of the audit log (table `events`), with the address of its user."""

    email: str
    kind: str
    session: str | None


@dataclass(frozen=True, kw_only=True)
class SessionInvariants:
    """The state after the run, to compare with the ledger."""

    ledger: Ledger
    sessions: dict[str, SessionRow]
    events: list[EventRow]
    versions: dict[str, int]
    """The credential version of each user, by the address of the registration."""
    notifications: Counter[tuple[str, str]]
    """The number of emails by user and kind."""
    recorded: dict[str, RecordedSession]
    accepted: dict[str, tuple[bool, bool]]
    """For each session without a revocation request: whether its newest tokens are accepted."""
    rejected: dict[str, tuple[bool, bool]]
    """For each revoked session, and each session of a deleted user: whether all its access tokens and all its refresh
    tokens are rejected."""

    @classmethod
    def of(cls, service: Service, ledger: Ledger) -> "SessionInvariants":
        """Read the database and send every token once more."""
        user_by_address = ledger.user_by_address
        sessions = service.sql(
            "SELECT s.id::text, email, counter, ended_at IS NOT NULL, end_reason, EXISTS (SELECT FROM events e"
            " WHERE e.user_id = u.id AND e.kind = 'password_recovered' AND e.id >"
            " (SELECT min(id) FROM events o WHERE o.session_id = s.id AND o.kind = 'signed_in'))"
            " FROM sessions s JOIN users u ON u.id = user_id"
        )
        events = service.sql(
            "SELECT email, kind, session_id::text FROM events e JOIN users u ON u.id = e.user_id ORDER BY e.id"
        )
        versions = {
            user_by_address[email]: version
            for email, version in service.sql("SELECT email, credential_version FROM users")
            if email in user_by_address
        }
        recorded = recorded_sessions.recorded_sessions_of(ledger)
        deleted = {*user_by_address.values()} - versions.keys()
        return cls(
            ledger=ledger,
            sessions={
                id_: SessionRow(
                    email=user_by_address[email],
                    counter=counter,
                    revoked=revoked,
                    end_reason=reason,
                    reset_since=since,
                )
                for id_, email, counter, revoked, reason, since in sessions
                if email in user_by_address
            },
            events=[
                EventRow(email=user_by_address[email], kind=kind, session=session)
                for email, kind, session in events
                if email in user_by_address
            ],
            versions=versions,
            notifications=Counter(
                (user_by_address[recipient], kind)
                for recipient, kind in service.sql("SELECT recipient, kind FROM letters")
                if recipient in user_by_address
            ),
            recorded=recorded,
            # Active sessions first: reuse detection of the second check must not revoke them.
            accepted=recorded_sessions.accepted_tokens(service, recorded),
            rejected=recorded_sessions.rejected_tokens(service, recorded, deleted=deleted),
        )

    @property
    def revoked_tokens(self) -> int:
        """The number of tokens that are rejected only because of the revocation, without expired access tokens."""
        pairs = [pair for session in self.rejected for pair in self.recorded[session].pairs]
        return len(pairs) + sum(not has_expired(pair.access) for pair in pairs)

    def violations(self) -> list[str]:
        """Every contradiction between the ledger and the state."""
        checks: list[Callable[[], Iterator[str]]] = [
            self._sessions_last,
            self._replaced_passwords_are_rejected,
            self._revoked_sessions_stay_revoked,
            self._single_successor,
            self._no_refresh_token_reuse,
            self._changes_are_atomic,
            self._audit_log_of_sessions,
            self._audit_log_of_changes,
        ]
        return [violation for check in checks for violation in check()]

    def _sessions_last(self) -> Iterator[str]:
        """L1: a session exists and its tokens are accepted until its revocation is requested."""
        for entry in self.ledger.entries:
            session = self.recorded.get(session_of_request(entry) or "")
            rejected = entry.response is not None and entry.response.code in ("token_invalid", "refresh_rejected")
            if session and rejected and entry.step != "replay" and session.revocation_requested > entry.answered_at:
                yield f"L1: {entry.step} of {entry.email} was rejected in a session that was not revoked"
        for id_, session in self.recorded.items():
            row = self.sessions.get(id_)
            if row is None and session.email not in self.versions:
                continue  # deleted with its user, covered by other invariants
            if row is None or row.email != session.email:
                yield f"L1: session {id_} of {session.email} is {row}"
            if any(roles_of(pair.access) != PORTAL for pair in session.pairs):
                yield f"L1: a token of session {id_} of {session.email} has the roles of another user"
        for id_, (access, refresh) in self.accepted.items():
            if not (access and refresh):
                yield f"L1: session {id_} is active; newest access and refresh token accepted: {access}, {refresh}"

    def _replaced_passwords_are_rejected(self) -> Iterator[str]:
        """L1: after an acknowledged change, only that password or a later one signs in."""
        for entries in self._by_email().values():
            changes = [entry for entry in entries if entry.new_password is not None]
            for entry in (entry for entry in entries if entry.step == "sign_in" and entry.acknowledged):
                known = max(
                    (each.at for each in changes if each.acknowledged and each.answered_at < entry.at), default=0.0
                )
                if entry.credential not in {each.new_password for each in changes if each.at >= known}:
                    yield f"L1: {entry.email} signed in with a replaced password"

    def _by_email(self) -> dict[str, list[RecordedRequest]]:
        requests = defaultdict(list)
        for entry in self.ledger.entries:
            requests[entry.email].append(entry)
        return requests

    def _revoked_sessions_stay_revoked(self) -> Iterator[str]:
        """L2: after an acknowledged revocation every token of the session is rejected, at once and after the run."""
        for entry in self.ledger.acknowledged("me", "refresh", "sign_out", *REVOKES_OTHERS):
            session = self.recorded.get(session_of_request(entry) or "")
            if session and entry.at > session.revoked:
                yield f"L2: {entry.step} of {entry.email} was accepted after the revocation of the session"
        for id_, (access, refresh) in self.rejected.items():
            if not (access and refresh):
                yield f"L2: session {id_} is revoked; access and refresh tokens rejected: {access}, {refresh}"

    def _single_successor(self) -> Iterator[str]:
        """L4: each refresh token has at most one successor, with the next counter, which the row also has."""
        successors: dict[str, set[str]] = {}
        for entry in self.ledger.acknowledged("refresh", "replay"):
            pair = TokenPair.of(entry.response)
            if pair is None or entry.credential is None:
                continue
            successors.setdefault(entry.credential, set()).add(pair.refresh)
            session, counter = position_of(pair.refresh)
            before = position_of(entry.credential)
            if (session, counter) != (before[0], before[1] + 1):
                yield f"L4: counter {before[1]} of {before[0]} was rotated to {counter} of {session}"
            row = self.sessions.get(session)
            if row is not None and row.counter < counter:
                yield f"L4: counter {counter} of {session} was issued, and the row has {row.counter}"
        for token, issued in successors.items():
            if len(issued) > 1:
                yield f"L4: a refresh token of {position_of(token)[0]} has {len(issued)} successors"

    def _no_refresh_token_reuse(self) -> Iterator[str]:
        """L4: a refresh token is rejected after the use of its successor (reuse detection)."""
        used: dict[tuple[str, int], float] = {}
        rotations = [entry for entry in self.ledger.acknowledged("refresh", "replay") if entry.credential]
        for entry in rotations:
            position = position_of(entry.credential or "")
            used[position] = min(used.get(position, float("inf")), entry.answered_at)
        for entry in rotations:
            session, counter = position_of(entry.credential or "")
            if used.get((session, counter + 1), float("inf")) < entry.at:
                yield f"L4: {entry.email} used counter {counter} again after counter {counter + 1}"

    def _changes_are_atomic(self) -> Iterator[str]:
        """L6: a change, its credential version, the revocation and the security notification are one transaction."""
        changes = Counter(event.email for event in self.events if event.kind in CHANGES.values())
        for email, version in self.versions.items():
            if changes[email] != version:
                yield f"L6: {email} has version {version} after {changes[email]} changes"
        for id_, row in self.sessions.items():
            if row.reset_since and not row.revoked:
                yield f"L6: session {id_} of {row.email} outlived a password reset"
        expected = Counter(
            (event.email, event.kind) for event in self.events if event.kind in (*CHANGES.values(), "refresh_reused")
        )
        for (email, kind), number in expected.items():
            if self.notifications[email, kind] != number:
                yield f"L6: {email} got {self.notifications[email, kind]} notifications of {number} times {kind}"

    def _audit_log_of_sessions(self) -> Iterator[str]:
        """L8: the audit log has one sign-in and at most one revocation for each session, and no others."""
        opened = Counter(event.session for event in self.events if event.kind == "signed_in")
        revoked = Counter(
            (event.session, event.kind)
            for event in self.events
            if event.kind in ("session_ended", *SESSION_END_EVENTS.values())
        )
        issued = {id_ for id_, session in self.recorded.items() if session.email in self.versions}
        for id_ in {*issued, *self.sessions, *(each for each in opened if each)}:
            if opened[id_] != 1 or id_ not in self.sessions:
                yield f"L8: session {id_} was opened {opened[id_]} times; the row is {self.sessions.get(id_)}"
        expected: Counter[tuple[str | None, str]] = Counter(
            (id_, SESSION_END_EVENTS.get(row.end_reason or "", "session_ended"))
            for id_, row in self.sessions.items()
            if row.revoked
        )
        for session, kind in (expected - revoked) + (revoked - expected):
            yield f"L8: session {session}: {revoked[session, kind]} times {kind} in the audit log; the row is " + str(
                self.sessions.get(session or "")
            )

    def _audit_log_of_changes(self) -> Iterator[str]:
        """L8: the audit log of existing users has every acknowledged change, and none without a request."""
        logged = Counter((event.email, event.kind) for event in self.events)
        for step, kind in CHANGES.items():
            acknowledged = Counter(entry.email for entry in self.ledger.acknowledged(step))
            possible = Counter(
                entry.email
                for entry in self.ledger.entries
                if entry.step == step and (entry.acknowledged or entry.uncertain)
            )
            for email in {*possible, *(email for email, event in logged if event == kind)} & self.versions.keys():
                if not acknowledged[email] <= logged[email, kind] <= possible[email]:
                    yield (
                        f"L8: {email}: {logged[email, kind]} times {kind} in the audit log, {acknowledged[email]} times"
                        f" acknowledged, {possible[email]} times possible"
                    )
