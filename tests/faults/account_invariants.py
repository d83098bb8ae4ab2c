"""Account invariants L1, L2, L5 and L8: changes of address and deletions, compared with the database."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from tests.faults.account_client import AccountClient
from tests.faults.client import RecordedRequest, retry_unavailable
from tests.faults.ledger import Ledger
from tests.faults.service import Service

NOTIFICATION_KINDS = ("email_changed", "account_deleted")
SIGN_INS = ("sign_in", "sign_in_by_code")
NEEDS_ACCOUNT = (
    *SIGN_INS,
    "me",
    "refresh",
    "reset_password",
    "change_password",
    "request_email_change",
    "change_email",
    "delete_account",
)
"""The steps that only succeed while the account exists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """The addresses of a user according to the ledger."""

    certain: set[str]
    """Addresses that the account had: a change was acknowledged, or a sign-in succeeded."""
    possible: set[str]
    """Addresses of which one is the current one."""

    @classmethod
    def at(cls, entries: list[RecordedRequest], when: float = float("inf")) -> "Addresses":
        """The addresses from the changes acknowledged before `when`; later requests are possible changes."""
        changes = [
            entry for entry in entries if entry.step == "change_email" and (entry.acknowledged or entry.uncertain)
        ]
        acknowledged = [entry for entry in changes if entry.acknowledged and entry.answered_at < when]
        last = max(acknowledged, key=lambda entry: entry.answered_at, default=None)
        since = {entry.address for entry in changes if last is None or entry.answered_at > last.at}
        opened = {entry.address for entry in entries if entry.acknowledged and entry.step in SIGN_INS}
        return cls(
            certain={entries[0].email, *(entry.address for entry in acknowledged), *opened},
            possible={last.address if last else entries[0].email, *since},
        )

    @property
    def former(self) -> set[str]:
        """Addresses that the account had and no longer has."""
        return self.certain - self.possible


@dataclass(frozen=True, kw_only=True)
class AccountInvariants:
    """The state after the run, to compare with the ledger."""

    ledger: Ledger
    rows: dict[str, list[str]]
    """The addresses of the existing users, by the address of the registration."""
    notifications: dict[tuple[str, str], list[str]]
    """The states of the security notifications, by recipient and email kind."""
    deletions: int
    """The number of deletions in the audit log."""
    orphaned_events: int
    """The number of audit events with the id of a deleted user."""
    can_sign_in: dict[str, bool]
    """For each address of a user who requested a change: whether it can sign in."""
    free: dict[str, bool]
    """For each address of a deleted user: whether another client can register it."""

    @classmethod
    def of(cls, service: Service, ledger: Ledger) -> "AccountInvariants":
        """Read the database and try every address, which opens sessions and registers users."""
        user_by_address = ledger.user_by_address
        rows: dict[str, list[str]] = defaultdict(list)
        hashes: dict[str, str | None] = {}
        for email, password_hash in service.sql("SELECT email, password_hash FROM users"):
            if email in user_by_address:
                rows[user_by_address[email]].append(email)
                hashes[user_by_address[email]] = password_hash
        notifications: dict[tuple[str, str], list[str]] = defaultdict(list)
        for recipient, kind, state in service.sql("SELECT recipient, kind, state FROM letters"):
            if recipient in user_by_address and kind in NOTIFICATION_KINDS:
                notifications[recipient, kind].append(state)
        [[deletions]] = service.sql(
            "SELECT count(*) FROM events WHERE kind = 'account_deleted' AND at > %s", ledger.began_at
        )
        [[orphaned_events]] = service.sql(
            "SELECT count(*) FROM events e WHERE user_id IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM users u WHERE u.id = e.user_id)"
        )
        requests = requests_by_user(ledger)
        can_sign_in = {
            address: _can_sign_in(service, address, password=_password(requests[email], hashes[email]))
            for email in rows
            for address in addresses_of(requests[email])
            if len(addresses_of(requests[email])) > 1
        }
        free = {
            address: retry_unavailable(AccountClient(service.port, address).sign_up).status == 201
            for email in ledger.maybe_deleted - rows.keys()
            for address in addresses_of(requests[email])
        }
        return cls(
            ledger=ledger,
            rows=dict(rows),
            notifications=dict(notifications),
            deletions=deletions,
            orphaned_events=orphaned_events,
            can_sign_in=can_sign_in,
            free=free,
        )

    @property
    def deleted(self) -> set[str]:
        """Users who requested deletion and do not exist."""
        return self.ledger.maybe_deleted - self.rows.keys()

    @property
    def former_addresses(self) -> set[str]:
        """The tried addresses that no account has."""
        return self.can_sign_in.keys() - {address for addresses in self.rows.values() for address in addresses}

    def violations(self) -> list[str]:
        """Every contradiction between the ledger and the state."""
        checks: list[Callable[[], Iterator[str]]] = [
            self._one_address_per_account,
            self._former_addresses_cannot_sign_in,
            self._deletions_are_final,
            self._notifications_are_sent,
            self._audit_log_of_deletions,
        ]
        return [violation for check in checks for violation in check()]

    def _one_address_per_account(self) -> Iterator[str]:
        """L1: each account has one address: the acknowledged one, or one that a later request may have set."""
        requests = requests_by_user(self.ledger)
        for email, addresses in self.rows.items():
            possible = Addresses.at(requests[email]).possible
            if len(addresses) != 1 or not possible.issuperset(addresses):
                yield f"L1: {email} has {addresses}, expected one of {possible}"

    def _former_addresses_cannot_sign_in(self) -> Iterator[str]:
        """L1: only the current address of an account signs in, during the run and after it."""
        for address, signs_in in self.can_sign_in.items():
            if signs_in == (address in self.former_addresses):
                yield f"L1: {address} can sign in: {signs_in}"
        for entries in requests_by_user(self.ledger).values():
            for entry in (entry for entry in entries if entry.acknowledged and entry.step in SIGN_INS):
                if entry.address not in Addresses.at(entries, entry.at).possible:
                    yield f"L1: {entry.email} signed in with {entry.address}, a former address"

    def _deletions_are_final(self) -> Iterator[str]:
        """L2: after an acknowledged deletion the account is gone, requests are rejected, and the address is free."""
        deletions = {entry.email: entry for entry in self.ledger.acknowledged("delete_account")}
        for entry in self.ledger.acknowledged(*NEEDS_ACCOUNT):
            if entry.email in deletions and entry.at > deletions[entry.email].answered_at:
                yield f"L2: {entry.step} of {entry.email} was accepted after the deletion"
        for email, times in Counter(entry.email for entry in self.ledger.acknowledged("delete_account")).items():
            if times > 1 or email in self.rows:
                yield f"L2: {email} has {times} acknowledged deletions and the addresses {self.rows.get(email)}"
        for address, is_free in self.free.items():
            if not is_free:
                yield f"L2: {address} is not free after the deletion"

    def _notifications_are_sent(self) -> Iterator[str]:
        """L5: one notification of a change to the old address, and one of a deletion to the last addresses."""
        for email, entries in requests_by_user(self.ledger).items():
            known = Addresses.at(entries)
            changed = {address for address in addresses_of(entries) if (address, "email_changed") in self.notifications}
            deleted = {
                address for address in addresses_of(entries) if (address, "account_deleted") in self.notifications
            }
            states = [
                state
                for address in changed | deleted
                for kind in NOTIFICATION_KINDS
                for state in self.notifications.get((address, kind), [])
            ]
            if len(states) != len(changed) + len(deleted):
                yield f"L5: {email} got a notification twice: {states}"
            if not known.former <= changed:
                yield f"L5: {email} had {known.former}; notifications of changes went to {changed}"
            if email in self.deleted:
                if not changed < deleted or len(deleted) != len(changed) + 1 or not deleted - changed <= known.possible:
                    yield f"L5: {email} was deleted; notifications of it went to {deleted}, of changes to {changed}"
                # A deletion cancels waiting emails of the account and sends its own to the same addresses.
                states = [state for address in deleted for state in self.notifications[address, "account_deleted"]]
            elif deleted or changed & {*self.rows.get(email, [])}:
                yield (
                    f"L5: {email} has {self.rows.get(email)}; notifications of a deletion went to {deleted}, "
                    f"of changes to {changed}"
                )
            if {*states} - {"sent"}:
                yield f"L5: {email} has notifications in the states {states}"

    def _audit_log_of_deletions(self) -> Iterator[str]:
        """L8: the audit log has each deletion once, and no event with the id of a deleted user."""
        if self.deletions != len(self.deleted):
            yield f"L8: {self.deletions} deletions in the audit log, {len(self.deleted)} deleted users"
        if self.orphaned_events:
            yield f"L8: {self.orphaned_events} events have the id of a deleted user"


def requests_by_user(ledger: Ledger) -> dict[str, list[RecordedRequest]]:
    """The requests of each user in the order in which they were sent."""
    requests: dict[str, list[RecordedRequest]] = defaultdict(list)
    for entry in sorted(ledger.entries, key=lambda entry: entry.at):
        requests[entry.email].append(entry)
    return requests


def addresses_of(entries: list[RecordedRequest]) -> set[str]:
    """Every address that a user had or may have had, according to the ledger."""
    known = Addresses.at(entries)
    requested = {
        entry.address for entry in entries if entry.step == "change_email" and (entry.acknowledged or entry.uncertain)
    }
    return known.certain | known.possible | requested


def _password(entries: list[RecordedRequest], password_hash: str | None) -> str | None:
    """The password that matches the hash; None without one. Another invariant checks that it is the right one."""
    hasher = PasswordHasher(concurrent=1)
    passwords = [entry.new_password for entry in reversed(entries) if entry.new_password is not None]
    return next(
        (password for password in dict.fromkeys(passwords) if hasher.verify(password, password_hash).matches), None
    )


def _can_sign_in(service: Service, address: str, *, password: str | None) -> bool:
    """Whether an account has the address and, if it has a password, signs in with it."""
    client = AccountClient(service.port, address)
    if password is None:
        return retry_unavailable(client.look_up).status == 200
    statuses = retry_unavailable(client.look_up).status, retry_unavailable(lambda: client.sign_in(password)).status
    return statuses == (200, 200)
