"""The laws of sessions: what people were told, against the database, the history and what the service accepts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults import recorded_sessions as bring_back
from tests.faults.account_client import Pair, has_expired, place_of, roles_in, session_in
from tests.faults.client import AuditEntry
from tests.faults.ledger import PORTAL, Ledger
from tests.faults.recorded_sessions import FOR_OTHERS, Held
from tests.faults.service import Service

CHANGES = {"recover": "password_recovered", "change_password": "password_changed", "move": "email_changed"}
"""What the history says of each way to another password or address."""
ENDS = {"signed_out": "signed_out", "refresh_reused": "refresh_reused"}
"""The event of the end of a session by its reason; of all other reasons it is `session_ended`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRow:
    """A session as it was found."""

    email: str
    counter: int
    ended: bool
    end_reason: str | None
    recovered_since: bool
    """Whether the password of its owner was recovered after it was opened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRow:
    """Something that the history says was done."""

    email: str
    kind: str
    session: str | None


@dataclass(frozen=True, kw_only=True)
class SessionLaws:
    """Everything that there is to be compared when everything is over."""

    ledger: Ledger
    sessions: dict[str, SessionRow]
    events: list[EventRow]
    versions: dict[str, int]
    """How often password or address of a user were changed, by the address that they began with."""
    notifications: Counter[tuple[str, str]]
    """Letters by whom they were for and kind."""
    held: dict[str, Held]
    accepted: dict[str, tuple[bool, bool]]
    """Of each session that nobody asked to end: whether its newest tokens are accepted."""
    refused: dict[str, tuple[bool, bool]]
    """Of each session whose end was acknowledged, or whose owner is gone: whether all of its access and refresh tokens
    are refused."""

    @classmethod
    def of(cls, service: Service, ledger: Ledger) -> "SessionLaws":
        """Look at the database and bring every token back once more."""
        whose = ledger.whose
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
            whose[email]: version
            for email, version in service.sql("SELECT email, credential_version FROM users")
            if email in whose
        }
        held = bring_back.sessions_of(ledger)
        return cls(
            ledger=ledger,
            sessions={
                id_: SessionRow(
                    email=whose[email], counter=counter, ended=ended, end_reason=reason, recovered_since=since
                )
                for id_, email, counter, ended, reason, since in sessions
                if email in whose
            },
            events=[
                EventRow(email=whose[email], kind=kind, session=of) for email, kind, of in events if email in whose
            ],
            versions=versions,
            notifications=Counter(
                (whose[recipient], kind)
                for recipient, kind in service.sql("SELECT recipient, kind FROM letters")
                if recipient in whose
            ),
            held=held,
            # The living first: whatever was wrong with the dead must not be what ended them.
            accepted=bring_back.accepted(service, held),
            refused=bring_back.refused(service, held, gone={*whose.values()} - versions.keys()),
        )

    @property
    def dead_tokens(self) -> int:
        """How many tokens there were to be refused for no other reason than the end of their session."""
        pairs = [pair for session in self.refused for pair in self.held[session].pairs]
        return len(pairs) + sum(not has_expired(pair.access) for pair in pairs)

    def broken_laws(self) -> list[str]:
        """Every way in which what there is contradicts what people were told."""
        laws: list[Callable[[], Iterator[str]]] = [
            self._nobody_thrown_out,
            self._new_passwords,
            self._ended_is_ended,
            self._one_successor,
            self._no_token_twice,
            self._nothing_half_done,
            self._history_of_sessions,
            self._history_of_changes,
        ]
        return [broken for law in laws for broken in law()]

    def _nobody_thrown_out(self) -> Iterator[str]:
        """L1: a session lasts until its end is requested, and its tokens are accepted."""
        for entry in self.ledger.entries:
            session = self.held.get(session_in(entry) or "")
            refused = entry.answer is not None and entry.answer.code in ("token_invalid", "refresh_rejected")
            if session and refused and entry.step != "replay" and session.asked_to_end > entry.answered_at:
                yield f"L1: {entry.step} of {entry.email} was refused in a session that nobody ended"
        for id_, held in self.held.items():
            row = self.sessions.get(id_)
            if row is None and held.email not in self.versions:
                continue  # and gone with its owner, of whom other laws speak
            if row is None or row.email != held.email:
                yield f"L1: the session {id_} of {held.email} is {row}"
            if any(roles_in(pair.access) != PORTAL for pair in held.pairs):
                yield f"L1: a token of session {id_} of {held.email} has the roles of another user"
        for id_, (access, refresh) in self.accepted.items():
            if not (access and refresh):
                yield f"L1: session {id_} was not ended; its newest tokens are accepted: {access}, {refresh}"

    def _new_passwords(self) -> Iterator[str]:
        """L1: from an acknowledged change on, only a password that was chosen then or later opens sessions."""
        for entries in self._by_email().values():
            changes = [entry for entry in entries if entry.chosen is not None]
            for entry in (entry for entry in entries if entry.step == "sign_in" and entry.good):
                known = max((each.at for each in changes if each.good and each.answered_at < entry.at), default=0.0)
                if entry.credential not in {each.chosen for each in changes if each.at >= known}:
                    yield f"L1: {entry.email} signed in with a password that was replaced"

    def _by_email(self) -> dict[str, list[AuditEntry]]:
        found = defaultdict(list)
        for entry in self.ledger.entries:
            found[entry.email].append(entry)
        return found

    def _ended_is_ended(self) -> Iterator[str]:
        """L2: after an acknowledged end every token of the session is refused: at once, and still when all is over."""
        for entry in self.ledger.good("me", "refresh", "sign_out", *FOR_OTHERS):
            session = self.held.get(session_in(entry) or "")
            if session and entry.at > session.ended:
                yield f"L2: {entry.step} of {entry.email} was accepted after the end of the session"
        for id_, (access, refresh) in self.refused.items():
            if not (access and refresh):
                yield f"L2: session {id_} has ended; its tokens are refused: {access}, {refresh}"

    def _one_successor(self) -> Iterator[str]:
        """L4: each refresh token has at most one successor, which is the next, and the row knows of it."""
        successors: dict[str, set[str]] = {}
        for entry in self.ledger.good("refresh", "replay"):
            pair = Pair.of(entry.answer)
            if pair is None or entry.credential is None:
                continue
            successors.setdefault(entry.credential, set()).add(pair.refresh)
            session, counter = place_of(pair.refresh)
            before = place_of(entry.credential)
            if (session, counter) != (before[0], before[1] + 1):
                yield f"L4: counter {before[1]} of {before[0]} was exchanged for {counter} of {session}"
            row = self.sessions.get(session)
            if row is not None and row.counter < counter:
                yield f"L4: counter {counter} of {session} was given out, and the row says {row.counter}"
        for token, given in successors.items():
            if len(given) > 1:
                yield f"L4: a refresh token of {place_of(token)[0]} has {len(given)} successors"

    def _no_token_twice(self) -> Iterator[str]:
        """L4: once its successor was used, a refresh token is refused, and its session with it."""
        used: dict[tuple[str, int], float] = {}
        exchanges = [entry for entry in self.ledger.good("refresh", "replay") if entry.credential]
        for entry in exchanges:
            place = place_of(entry.credential or "")
            used[place] = min(used.get(place, float("inf")), entry.answered_at)
        for entry in exchanges:
            session, counter = place_of(entry.credential or "")
            if used.get((session, counter + 1), float("inf")) < entry.at:
                yield f"L4: {entry.email} used counter {counter} again after counter {counter + 1}"

    def _nothing_half_done(self) -> Iterator[str]:
        """L6: a change, its version, the end of what was open before and the letter about it are one."""
        changes = Counter(event.email for event in self.events if event.kind in CHANGES.values())
        for email, version in self.versions.items():
            if changes[email] != version:
                yield f"L6: {email} has version {version} after {changes[email]} changes"
        for id_, row in self.sessions.items():
            if row.recovered_since and not row.ended:
                yield f"L6: session {id_} of {row.email} outlived a recovery"
        told = Counter(
            (event.email, event.kind) for event in self.events if event.kind in (*CHANGES.values(), "refresh_reused")
        )
        for (email, kind), number in told.items():
            if self.notifications[email, kind] != number:
                yield f"L6: {email} was told {self.notifications[email, kind]} times of {number} times {kind}"

    def _history_of_sessions(self) -> Iterator[str]:
        """L8: each session was opened once and ended at most once, and the history says so, and says nothing else."""
        opened = Counter(event.session for event in self.events if event.kind == "signed_in")
        ended = Counter(
            (event.session, event.kind) for event in self.events if event.kind in ("session_ended", *ENDS.values())
        )
        held = {id_ for id_, session in self.held.items() if session.email in self.versions}
        for id_ in {*held, *self.sessions, *(each for each in opened if each)}:
            if opened[id_] != 1 or id_ not in self.sessions:
                yield f"L8: session {id_} was opened {opened[id_]} times, and is {self.sessions.get(id_)}"
        expected: Counter[tuple[str | None, str]] = Counter(
            (id_, ENDS.get(row.end_reason or "", "session_ended")) for id_, row in self.sessions.items() if row.ended
        )
        for session, kind in (expected - ended) + (ended - expected):
            yield f"L8: session {session}: {ended[session, kind]} times {kind} in the history, and it is " + str(
                self.sessions.get(session or "")
            )

    def _history_of_changes(self) -> Iterator[str]:
        """L8: every acknowledged change is in the history of those who have one, and nothing that nobody asked for."""
        written = Counter((event.email, event.kind) for event in self.events)
        for step, kind in CHANGES.items():
            acknowledged = Counter(entry.email for entry in self.ledger.good(step))
            possible = Counter(
                entry.email for entry in self.ledger.entries if entry.step == step and (entry.good or entry.uncertain)
            )
            for email in {*possible, *(email for email, of in written if of == kind)} & self.versions.keys():
                if not acknowledged[email] <= written[email, kind] <= possible[email]:
                    yield (
                        f"L8: {email}: {written[email, kind]} times {kind} in the history, {acknowledged[email]} times"
                        f" acknowledged, {possible[email]} times possible"
                    )
