"""Ledger of requests and responses, and the invariants L1 to L7 over ledger, database and mailboxes."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from auth_service import clock
from auth_service.adapters.crypto.password_hasher import PasswordHasher
from tests.faults.client import RecordedRequest
from tests.faults.service import Service, code_of
from tests.support.smtp_sink_message import SinkMessage

MAX_RESPONSE_SECONDS = 6.0
"""The longest time that any response may take."""
CODE_REQUESTS = (
    "send_code",
    "resend_code",
    "send_sign_in_code",
    "send_reset_code",
    "request_email_change",
    "send_deletion_code",
)
CODE_USES = ("confirm_email", "sign_in_by_code", "reset_password", "change_email", "delete_account")
TEMPORARY, PORTAL = ["ROLE_TEMPORARY_USER"], ["ROLE_PORTAL_USER"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UserRow:
    """A row of `users` with the roles of the user."""

    id: int
    verified: bool
    password_hash: str | None
    roles: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """A row of the outbox (table `letters`)."""

    recipient: str
    state: str
    kind: str


@dataclass(kw_only=True)
class Ledger:
    """All requests, in the order of their responses."""

    entries: list[RecordedRequest] = field(default_factory=list)
    acknowledged_emails: int = 0
    """Emails that the service acknowledged."""
    began_at: datetime = field(default_factory=clock.now)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def record(self, entry: RecordedRequest) -> None:
        with self._writing:
            self.entries.append(entry)
            self.acknowledged_emails += entry.acknowledged and entry.step in CODE_REQUESTS

    def acknowledged(self, *steps: str) -> list[RecordedRequest]:
        """The acknowledged requests of some steps."""
        return [entry for entry in self.entries if entry.acknowledged and entry.step in steps]

    @property
    def user_by_address(self) -> dict[str, str]:
        """The user of each address that a user had or requested."""
        return {entry.address: entry.email for entry in self.entries}

    @property
    def maybe_deleted(self) -> set[str]:
        """Users who requested deletion, unless an error shows that the account was not deleted."""
        return {
            entry.email
            for entry in self.entries
            if entry.step == "delete_account" and (entry.acknowledged or entry.uncertain)
        }

    @property
    def slowest(self) -> float:
        return max((entry.seconds for entry in self.entries), default=0.0)

    @property
    def unanswered(self) -> int:
        return sum(entry.response is None for entry in self.entries)

    @property
    def unavailable(self) -> int:
        """The number of responses with status 503."""
        return sum(entry.response is not None and entry.response.status == 503 for entry in self.entries)


@dataclass(frozen=True, kw_only=True)
class FinalState:
    """The database and the mailboxes after the run, to compare with the ledger."""

    ledger: Ledger
    users: dict[str, UserRow]
    outbox: dict[str, OutboxRow]
    """By the id in the Message-ID header."""
    received: list[SinkMessage]

    @classmethod
    def of(cls, service: Service, ledger: Ledger) -> "FinalState":
        user_by_address = ledger.user_by_address
        users = service.sql(
            "SELECT email, id, verified_mail, password_hash, array(SELECT role FROM user_roles WHERE user_id = id)"
            " FROM users"
        )
        outbox = service.sql("SELECT id::text, recipient, state, kind FROM letters")
        return cls(
            ledger=ledger,
            users={
                user_by_address[email]: UserRow(id=id_, verified=verified, password_hash=password_hash, roles=roles)
                for email, id_, verified, password_hash, roles in users
                if email in user_by_address
            },
            outbox={
                id_: OutboxRow(recipient=recipient, state=state, kind=kind)
                for id_, recipient, state, kind in outbox
                if recipient in user_by_address
            },
            received=[message for message in service.sink.messages if user_by_address.keys() & set(message.recipients)],
        )

    @property
    def duplicates(self) -> int:
        """The number of emails that arrived more than once."""
        return len(self.received) - len({message.message_id for message in self.received})

    def lost(self) -> Iterator[str]:
        """L5: acknowledged emails that neither arrived nor ended in a final state."""
        requested = Counter(entry.address for entry in self.ledger.acknowledged(*CODE_REQUESTS))
        stored = Counter(row.recipient for row in self.outbox.values() if row.kind.endswith("_code"))
        arrived = {outbox_id_of(message) for message in self.received}
        for email, number in requested.items():
            yield from [f"L5: an acknowledged email to {email} is not in the outbox"] * (number - stored[email])
        for id_, row in self.outbox.items():
            if row.state == "waiting" or (row.state == "sent" and id_ not in arrived):
                yield f"L5: email {id_} to {row.recipient} is {row.state} and did not arrive"

    def violations(self) -> list[str]:
        """Every contradiction between the ledger and the final state."""
        checks: list[Callable[[], Iterator[str]]] = [
            self._acknowledged_registrations_exist,
            self._newest_password_matches,
            self._codes_are_single_use,
            self.lost,
            self._emails_come_from_the_outbox,
            self._roles_match_verification,
            self._responses_follow_the_contract,
        ]
        return [violation for check in checks for violation in check()]

    def _acknowledged_registrations_exist(self) -> Iterator[str]:
        """L1: the account of an acknowledged registration exists with its role, unless its user requested deletion."""
        maybe_deleted = self.ledger.maybe_deleted
        for entry in self.ledger.acknowledged("finish"):
            user = self.users.get(entry.email)
            if user is None and entry.email in maybe_deleted:
                continue
            if user is None or not user.verified or user.roles != PORTAL:
                yield f"L1: {entry.email} finished the registration and is {user}"

    def _newest_password_matches(self) -> Iterator[str]:
        """L1: after an acknowledged change only the new password matches the password hash.

        Later requests without an acknowledgement may have taken effect: then exactly one of these passwords matches.
        """
        hasher = PasswordHasher(concurrent=1)
        password_requests: dict[str, list[RecordedRequest]] = {}
        for entry in sorted(self.ledger.entries, key=lambda entry: entry.at):
            if entry.new_password is not None:
                password_requests.setdefault(entry.email, []).append(entry)
        for email, entries in password_requests.items():
            last = max((position for position, entry in enumerate(entries) if entry.acknowledged), default=None)
            if last is None or email not in self.users:  # covered by another invariant
                continue
            allowed = {entry.new_password for entry in entries[last:] if entry.acknowledged or entry.uncertain}
            password_hash = self.users[email].password_hash
            matching = {
                password
                for password in {entry.new_password or "" for entry in entries}
                if hasher.verify(password, password_hash).matches
            }
            if len(matching) != 1 or not matching <= allowed:
                yield f"L1: {email}: password {last} of {len(entries)} was acknowledged, {len(matching)} match"

    def _codes_are_single_use(self) -> Iterator[str]:
        """L3: no code was accepted twice."""
        accepted = Counter(
            (entry.email, entry.step, entry.credential) for entry in self.ledger.acknowledged(*CODE_USES)
        )
        for (email, step, _), times in accepted.items():
            if times > 1:
                yield f"L3: {email}: one code was accepted {times} times by {step}"

    def _emails_come_from_the_outbox(self) -> Iterator[str]:
        """L5: each email has a committed outbox row, and duplicates have the same content."""
        seen: dict[str, tuple[object, ...]] = {}
        for message in self.received:
            content = message.recipients, code_of(message)
            if outbox_id_of(message) not in self.outbox:
                yield f"L5: an email to {message.recipients} has no outbox row"
            elif seen.setdefault(message.message_id, content) != content:
                yield f"L5: two different emails to {message.recipients} have one Message-ID"

    def _roles_match_verification(self) -> Iterator[str]:
        """L6: each user has exactly one role, the one that matches verification, also after unacknowledged requests."""
        maybe_deleted = self.ledger.maybe_deleted
        for entry in self.ledger.acknowledged("sign_up"):
            if entry.email not in self.users.keys() | maybe_deleted:
                yield f"L6: {entry.email} signed up and does not exist"
        for email, user in self.users.items():
            if user.roles != (PORTAL if user.verified else TEMPORARY):
                yield f"L6: {email} is {user}"

    def _responses_follow_the_contract(self) -> Iterator[str]:
        """L7: responses are JSON and in time, and 503 is the only 5xx status."""
        for entry in self.ledger.entries:
            if entry.seconds > MAX_RESPONSE_SECONDS:
                yield f"L7: {entry.step} took {entry.seconds:.1f} s"
            if entry.response is None:
                continue
            if entry.response.headers.get("content-type") != "application/json" or "success" not in entry.response.json:
                yield f"L7: {entry.step} got {entry.response.body!r}"
            if entry.response.status >= 500 and entry.response.status != 503:
                yield f"L7: {entry.step} got {entry.response.status} {entry.response.body!r}"


def outbox_id_of(message: SinkMessage) -> str:
    """The id of the outbox row of an email."""
    return message.message_id.strip("<>").partition("@")[0]
