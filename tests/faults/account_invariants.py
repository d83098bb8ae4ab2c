"""The laws of accounts that move to another address, or go: what people were told, against what is there."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from tests.faults.account_client import Member
from tests.faults.client import AuditEntry, persist
from tests.faults.ledger import Ledger
from tests.faults.service import Service

TOLD = ("email_changed", "account_deleted")
SIGNING_IN = ("sign_in", "sign_in_by_code")
ALIVE = (*SIGNING_IN, "me", "refresh", "recover", "change_password", "ask_to_move", "move", "leave")
"""What only succeeds as long as there is an account."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """What the ledger knows of a user's addresses."""

    certain: set[str]
    """Those that the account had for sure: a request was acknowledged, or a sign-in succeeded."""
    possible: set[str]
    """Those of which one is the last."""

    @classmethod
    def at(cls, entries: list[AuditEntry], when: float = float("inf")) -> "Addresses":
        """As acknowledged before `when`, from the requests; what was requested since is possible."""
        moves = [entry for entry in entries if entry.step == "move" and (entry.good or entry.uncertain)]
        told = [entry for entry in moves if entry.good and entry.answered_at < when]
        last = max(told, key=lambda entry: entry.answered_at, default=None)
        since = {entry.address for entry in moves if last is None or entry.answered_at > last.at}
        opened = {entry.address for entry in entries if entry.good and entry.step in SIGNING_IN}
        return cls(
            certain={entries[0].email, *(entry.address for entry in told), *opened},
            possible={last.address if last else entries[0].email, *since},
        )

    @property
    def left(self) -> set[str]:
        """Those that the account had for sure, and has not any more."""
        return self.certain - self.possible


@dataclass(frozen=True, kw_only=True)
class AccountLaws:
    """Everything that there is to be compared when everything is over."""

    ledger: Ledger
    rows: dict[str, list[str]]
    """The addresses of the users that exist, by the address of the registration."""
    letters: dict[tuple[str, str], list[str]]
    """How the letters of a kind to an address ended."""
    deletions: int
    """How many the history tells of."""
    ghosts: int
    """Events that name a user who is not there any more."""
    known: dict[str, bool]
    """Of each address of a user who wanted to move: whether it is known, and its password opens the door."""
    free: dict[str, bool]
    """Of each address of a deleted user: whether another client can register it."""

    @classmethod
    def of(cls, service: Service, ledger: Ledger) -> "AccountLaws":
        """Look at the database, and try every address; after this there are more sessions and users than before."""
        whose = ledger.whose
        rows: dict[str, list[str]] = defaultdict(list)
        hashes: dict[str, str | None] = {}
        for email, password_hash in service.sql("SELECT email, password_hash FROM users"):
            if email in whose:
                rows[whose[email]].append(email)
                hashes[whose[email]] = password_hash
        letters: dict[tuple[str, str], list[str]] = defaultdict(list)
        for recipient, kind, state in service.sql("SELECT recipient, kind, state FROM letters"):
            if recipient in whose and kind in TOLD:
                letters[recipient, kind].append(state)
        [[deletions]] = service.sql(
            "SELECT count(*) FROM events WHERE kind = 'account_deleted' AND at > %s", ledger.began_at
        )
        [[ghosts]] = service.sql(
            "SELECT count(*) FROM events e WHERE user_id IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM users u WHERE u.id = e.user_id)"
        )
        people = by_person(ledger)
        known = {
            address: _opens(service, address, password=_password(people[email], hashes[email]))
            for email in rows
            for address in addresses_of(people[email])
            if len(addresses_of(people[email])) > 1
        }
        free = {
            address: persist(Member(service.port, address).sign_up).status == 201
            for email in ledger.may_be_gone - rows.keys()
            for address in addresses_of(people[email])
        }
        return cls(
            ledger=ledger,
            rows=dict(rows),
            letters=dict(letters),
            deletions=deletions,
            ghosts=ghosts,
            known=known,
            free=free,
        )

    @property
    def gone(self) -> set[str]:
        """Those who wanted their account to be deleted, and have none."""
        return self.ledger.may_be_gone - self.rows.keys()

    @property
    def left_behind(self) -> set[str]:
        """The addresses of those who wanted to move, but the one that each of them has."""
        return self.known.keys() - {address for addresses in self.rows.values() for address in addresses}

    def broken_laws(self) -> list[str]:
        """Every way in which what there is contradicts what people were told."""
        laws: list[Callable[[], Iterator[str]]] = [
            self._at_one_address,
            self._no_way_in_by_the_old_address,
            self._gone_is_gone,
            self._everybody_was_told,
            self._history_of_deletions,
        ]
        return [broken for law in laws for broken in law()]

    def _at_one_address(self) -> Iterator[str]:
        """L1: after an acknowledged change the account is there at the new address, once; else where it may be."""
        people = by_person(self.ledger)
        for email, addresses in self.rows.items():
            possible = Addresses.at(people[email]).possible
            if len(addresses) != 1 or not possible.issuperset(addresses):
                yield f"L1: {email} is at {addresses}, and should be at one of {possible}"

    def _no_way_in_by_the_old_address(self) -> Iterator[str]:
        """L1: an address that the account has opens the door, and one that it had does not: then, and now."""
        for address, opens in self.known.items():
            if opens == (address in self.left_behind):
                yield f"L1: {address} opens the door: {opens}"
        for entries in by_person(self.ledger).values():
            for entry in (entry for entry in entries if entry.good and entry.step in SIGNING_IN):
                if entry.address not in Addresses.at(entries, entry.at).possible:
                    yield f"L1: {entry.email} signed in at {entry.address}, which was replaced"

    def _gone_is_gone(self) -> Iterator[str]:
        """L2: after an acknowledged deletion there is no account, nothing is accepted, and the address is free."""
        left = {entry.email: entry for entry in self.ledger.good("leave")}
        for entry in self.ledger.good(*ALIVE):
            if entry.email in left and entry.at > left[entry.email].answered_at:
                yield f"L2: {entry.step} of {entry.email} was accepted after the deletion"
        for email, times in Counter(entry.email for entry in self.ledger.good("leave")).items():
            if times > 1 or email in self.rows:
                yield f"L2: {email} was told {times} times of the deletion, and is at {self.rows.get(email)}"
        for address, is_free in self.free.items():
            if not is_free:
                yield f"L2: {address} is not free after the deletion"

    def _everybody_was_told(self) -> Iterator[str]:
        """L5: who moved is told once at the old address, who is gone at every address that there was until lately."""
        for email, entries in by_person(self.ledger).items():
            of = Addresses.at(entries)
            moved = {address for address in addresses_of(entries) if (address, "email_changed") in self.letters}
            told = {address for address in addresses_of(entries) if (address, "account_deleted") in self.letters}
            states = [
                state for address in moved | told for kind in TOLD for state in self.letters.get((address, kind), [])
            ]
            if len(states) != len(moved) + len(told):
                yield f"L5: {email} was told twice: {states}"
            if not of.left <= moved:
                yield f"L5: {email} moved away from {of.left}, and was told at {moved}"
            if email in self.gone:
                if not moved < told or len(told) != len(moved) + 1 or not told - moved <= of.possible:
                    yield f"L5: {email} left, and was told so at {told}, of a move at {moved}"
                # A deletion withdraws what waits for the account, and tells the same people itself.
                states = [state for address in told for state in self.letters[address, "account_deleted"]]
            elif told or moved & {*self.rows.get(email, [])}:
                yield f"L5: {email} is at {self.rows.get(email)}, and was told of a deletion at {told}, a move: {moved}"
            if {*states} - {"sent"}:
                yield f"L5: {email} was owed letters that ended as {states}"

    def _history_of_deletions(self) -> Iterator[str]:
        """L8: each deletion is in the history once, which does not say whose it was, nor anything else about them."""
        if self.deletions != len(self.gone):
            yield f"L8: {self.deletions} deletions in the history, and {len(self.gone)} people are gone"
        if self.ghosts:
            yield f"L8: {self.ghosts} events name a deleted user"


def by_person(ledger: Ledger) -> dict[str, list[AuditEntry]]:
    """The requests of each person in the order in which they were made."""
    found: dict[str, list[AuditEntry]] = defaultdict(list)
    for entry in sorted(ledger.entries, key=lambda entry: entry.at):
        found[entry.email].append(entry)
    return found


def addresses_of(entries: list[AuditEntry]) -> set[str]:
    """Every address that a user had, or may have had, from their requests."""
    of = Addresses.at(entries)
    tried = {entry.address for entry in entries if entry.step == "move" and (entry.good or entry.uncertain)}
    return of.certain | of.possible | tried


def _password(entries: list[AuditEntry], password_hash: str | None) -> str | None:
    """The password of a user who has one; any is wrong for the others, and which of them is for another law."""
    hasher = PasswordHasher(at_once=1)
    chosen = [entry.chosen for entry in reversed(entries) if entry.chosen is not None]
    return next((word for word in dict.fromkeys(chosen) if hasher.verify(word, password_hash).matches), None)


def _opens(service: Service, address: str, *, password: str | None) -> bool:
    """Whether an address is known, and opens the door with the password if there is one."""
    member = Member(service.port, address)
    if password is None:
        return persist(member.look_up).status == 200
    return (persist(member.look_up).status, persist(lambda: member.sign_in(password)).status) == (200, 200)
