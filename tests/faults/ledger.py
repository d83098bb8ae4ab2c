"""The ledger of everything that people were told, and the laws that it, the database and the mailboxes have to obey."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from auth_service import clock
from auth_service.adapters.crypto.password_hasher import PasswordHasher
from tests.faults.client import AuditEntry
from tests.faults.service import Service, code_in
from tests.support.smtp_sink_message import SinkMessage

LATEST = 6.0
"""Seconds after which no answer comes any more."""
SENDING = ("send_code", "resend_code", "ask_to_sign_in", "ask_to_recover", "ask_to_move", "ask_to_leave")
SPENDING = ("mail", "sign_in_by_code", "recover", "move", "leave")
TEMPORARY, PORTAL = ["ROLE_TEMPORARY_USER"], ["ROLE_PORTAL_USER"]


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A row, with the roles that belong to it."""

    id: int
    verified: bool
    password_hash: str | None
    roles: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxMessage:
    """A row of the outbox."""

    recipient: str
    state: str
    kind: str


@dataclass(kw_only=True)
class Ledger:
    """Requests in the order in which their answers came."""

    entries: list[AuditEntry] = field(default_factory=list)
    letters: int = 0
    """How many were acknowledged."""
    began_at: datetime = field(default_factory=clock.now)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def note(self, entry: AuditEntry) -> None:
        with self._writing:
            self.entries.append(entry)
            self.letters += entry.good and entry.step in SENDING

    def good(self, *steps: str) -> list[AuditEntry]:
        """The acknowledged ones among some kinds of requests."""
        return [entry for entry in self.entries if entry.good and entry.step in steps]

    @property
    def whose(self) -> dict[str, str]:
        """The user of each address that a user had, or wanted to have."""
        return {entry.address: entry.email for entry in self.entries}

    @property
    def may_be_gone(self) -> set[str]:
        """Those who asked for the deletion of their account, and were not told that it was not deleted."""
        return {entry.email for entry in self.entries if entry.step == "leave" and (entry.good or entry.uncertain)}

    @property
    def slowest(self) -> float:
        return max((entry.seconds for entry in self.entries), default=0.0)

    @property
    def unanswered(self) -> int:
        return sum(entry.answer is None for entry in self.entries)

    @property
    def refused(self) -> int:
        """Answers that asked to come back later."""
        return sum(entry.answer is not None and entry.answer.status == 503 for entry in self.entries)


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """What there is when everything is over: to be compared with the ledger."""

    ledger: Ledger
    users: dict[str, User]
    letters: dict[str, OutboxMessage]
    """By the id that is in the Message-ID."""
    mail: list[SinkMessage]

    @classmethod
    def of(cls, service: Service, ledger: Ledger) -> "Aftermath":
        whose = ledger.whose
        users = service.sql(
            "SELECT email, id, verified_mail, password_hash, array(SELECT role FROM user_roles WHERE user_id = id)"
            " FROM users"
        )
        letters = service.sql("SELECT id::text, recipient, state, kind FROM letters")
        return cls(
            ledger=ledger,
            users={
                whose[email]: User(id=id_, verified=verified, password_hash=password_hash, roles=roles)
                for email, id_, verified, password_hash, roles in users
                if email in whose
            },
            letters={
                id_: OutboxMessage(recipient=recipient, state=state, kind=kind)
                for id_, recipient, state, kind in letters
                if recipient in whose
            },
            mail=[message for message in service.sink.messages if whose.keys() & set(message.recipients)],
        )

    @property
    def duplicates(self) -> int:
        """Letters that came again."""
        return len(self.mail) - len({message.message_id for message in self.mail})

    def lost(self) -> Iterator[str]:
        """L5: acknowledged codes that neither came nor ended for a reason."""
        asked = Counter(entry.address for entry in self.ledger.good(*SENDING))
        written = Counter(letter.recipient for letter in self.letters.values() if letter.kind.endswith("_code"))
        came = {letter_of(message) for message in self.mail}
        for email, number in asked.items():
            yield from [f"L5: an acknowledged letter to {email} was never written"] * (number - written[email])
        for id_, letter in self.letters.items():
            if letter.state == "waiting" or (letter.state == "sent" and id_ not in came):
                yield f"L5: the letter {id_} to {letter.recipient} is {letter.state}, and did not come"

    def broken_laws(self) -> list[str]:
        """Every way in which what there is contradicts what people were told."""
        laws: list[Callable[[], Iterator[str]]] = [
            self._finished,
            self._right_passwords,
            self._codes_once,
            self.lost,
            self._mail_has_a_cause,
            self._nobody_half_made,
            self._answers,
        ]
        return [broken for law in laws for broken in law()]

    def _finished(self) -> Iterator[str]:
        """L1: an acknowledged registration is there, with its role, unless its owner wanted it to be gone."""
        may_be_gone = self.ledger.may_be_gone
        for entry in self.ledger.good("finish"):
            user = self.users.get(entry.email)
            if user is None and entry.email in may_be_gone:
                continue
            if user is None or not user.verified or user.roles != PORTAL:
                yield f"L1: {entry.email} finished, and is {user}"

    def _right_passwords(self) -> Iterator[str]:
        """L1: after an acknowledged change the new password fits and no other does.

        What was asked for after it, and not acknowledged, may have been done or not: then one of these fits.
        """
        hasher = PasswordHasher(at_once=1)
        chosen: dict[str, list[AuditEntry]] = {}
        for entry in sorted(self.ledger.entries, key=lambda entry: entry.at):
            if entry.chosen is not None:
                chosen.setdefault(entry.email, []).append(entry)
        for email, entries in chosen.items():
            last = max((place for place, entry in enumerate(entries) if entry.good), default=None)
            if last is None or email not in self.users:  # of whom another law speaks
                continue
            allowed = {entry.chosen for entry in entries[last:] if entry.good or entry.uncertain}
            password_hash = self.users[email].password_hash
            fits = {
                word for word in {entry.chosen or "" for entry in entries} if hasher.verify(word, password_hash).matches
            }
            if len(fits) != 1 or not fits <= allowed:
                yield f"L1: of {len(entries)} passwords of {email} number {last} was acknowledged, and {len(fits)} fit"

    def _codes_once(self) -> Iterator[str]:
        """L3: no code was accepted twice."""
        accepted = Counter((entry.email, entry.step, entry.credential) for entry in self.ledger.good(*SPENDING))
        for (email, _, _), times in accepted.items():
            if times > 1:
                yield f"L3: {email} used one code {times} times"

    def _mail_has_a_cause(self) -> Iterator[str]:
        """L5: no mail without a committed row, and what comes again is the same letter."""
        seen: dict[str, tuple[object, ...]] = {}
        for message in self.mail:
            content = message.recipients, code_in(message)
            if letter_of(message) not in self.letters:
                yield f"L5: a letter to {message.recipients} that nobody wrote"
            elif seen.setdefault(message.message_id, content) != content:
                yield f"L5: two letters to {message.recipients} under one Message-ID"

    def _nobody_half_made(self) -> Iterator[str]:
        """L6: people are there with exactly one role, which fits, whether their requests were acknowledged or not."""
        may_be_gone = self.ledger.may_be_gone
        for entry in self.ledger.good("sign_up"):
            if entry.email not in self.users.keys() | may_be_gone:
                yield f"L6: {entry.email} signed up and is not there"
        for email, user in self.users.items():
            if user.roles != (PORTAL if user.verified else TEMPORARY):
                yield f"L6: {email} is {user}"

    def _answers(self) -> Iterator[str]:
        """L7: no error but 503, nothing late, nothing but JSON."""
        for entry in self.ledger.entries:
            if entry.seconds > LATEST:
                yield f"L7: {entry.step} took {entry.seconds:.1f} s"
            if entry.answer is None:
                continue
            if entry.answer.headers.get("content-type") != "application/json" or "success" not in entry.answer.json:
                yield f"L7: {entry.step} was answered by {entry.answer.body!r}"
            if entry.answer.status >= 500 and entry.answer.status != 503:
                yield f"L7: {entry.step} was answered by {entry.answer.status} {entry.answer.body!r}"


def letter_of(message: SinkMessage) -> str:
    """The id of the row that a letter was written from."""
    return message.message_id.strip("<>").partition("@")[0]
