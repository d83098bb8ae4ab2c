"""Imports: people who are brought along from another system, with the hashes that it made of their passwords."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, column, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from auth_service.adapters.crypto import legacy_hashes
from auth_service.db import Statement, Write, transaction
from auth_service.models import PORTAL_USER, User, UserRole
from auth_service.models.audit_event import EventType
from auth_service.models.user import random_id
from auth_service.services.audit.statements import ClientParameters, audit_cte
from auth_service.services.email import addresses
from auth_service.services.email.addresses import Address
from auth_service.services.email.rendering import LANGUAGES

BATCH = 500
"""People that one transaction brings: some tens of milliseconds for PostgreSQL."""

FIELDS = frozenset({"email", "verified", "password_hash", "language"})
METHOD = "import"
"""What the history says of how somebody registered."""


class LineRejected(ValueError):
    """A line is nobody. The text says why, and nothing of what stands in the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedUser:
    """Somebody whom another system knows."""

    email: Address
    verified: bool
    """Whether that system saw them prove that the address is theirs; nobody else can be brought."""
    password_hash: str | None = field(repr=False)
    language: str


def read(line: bytes) -> ImportedUser:
    """Read a line: one JSON object in UTF-8, with nothing that is unknown, repeated or of another type.

    Raises LineRejected, also for a hash whose form is unknown or that asks for more than `legacy_hashes` gives: nobody
    could ever sign in with it.
    """
    try:
        said = json.loads(line.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise LineRejected("is no JSON object in UTF-8 without repeated names") from None
    if not isinstance(said, dict):
        raise LineRejected("is no JSON object")
    if not said.keys() <= FIELDS:
        raise LineRejected(f"has other names than {', '.join(sorted(FIELDS))}")
    language = said.get("language", LANGUAGES[0])
    if language not in LANGUAGES:
        raise LineRejected(f"language: is none of {', '.join(LANGUAGES)}")
    if not isinstance(said.get("verified"), bool):
        raise LineRejected("verified: is neither true nor false")
    return ImportedUser(
        email=_address(said.get("email")),
        verified=said["verified"],
        password_hash=_hash(said.get("password_hash")),
        language=language,
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _address(said: Any) -> Address:
    try:
        if isinstance(said, str) and len(said) <= addresses.LONGEST:
            return addresses.parse(said)
    except ValueError:  # its text may have parts of the address
        pass
    raise LineRejected("email: is no address that this service takes")


def _hash(said: Any) -> str | None:
    if said is None or (isinstance(said, str) and legacy_hashes.check(said) is not None):
        return said
    raise LineRejected("password_hash: has no form that this service verifies, or asks for too much time or memory")


def _brought() -> Any:
    """People whose addresses nobody has become users of the portal, each with the role and an event; says how many."""
    columns = {"id": BigInteger, "email": Text, "email_key": Text, "language": Text, "password_hash": Text}
    given = (
        func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in columns.items()))
        .table_valued(*(column(name, kind) for name, kind in columns.items()))
        .render_derived("given")
    )
    confirmed = {"verified_mail": literal(True), "verified_at": func.now()}
    made = (
        insert(User)
        .from_select(
            [*columns, *confirmed],
            select(*(given.c[name] for name in columns), *confirmed.values()),
            include_defaults=False,
        )
        .on_conflict_do_nothing(index_elements=[User.email_key])
        .returning(User.id.label("user_id"))
        .cte("made")
    )
    role = select(made.c.user_id, literal(PORTAL_USER))
    granted = insert(UserRole).from_select(["user_id", "role"], role).cte("granted")
    registered = audit_cte(EventType.REGISTERED, about=made, method=literal(METHOD))
    return select(func.count()).select_from(made).add_cte(granted, registered)


class _Brought(ClientParameters):
    id: list[int]
    email: list[str]
    email_key: list[str]
    language: list[str]
    password_hash: list[str | None]


class _Keys(TypedDict):
    keys: list[str]


_BROUGHT = Statement(_brought(), parameters=_Brought, row=int)
_MAKE_ROOM = Write(
    delete(User).where(User.email_key == func.any(bindparam("keys", type_=ARRAY(Text))), User.verified_mail.is_(False)),
    parameters=_Keys,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class UserImport:
    """Brings people along."""

    def bring(self, people: Sequence[ImportedUser]) -> int:
        """Make users of the portal of those whose address nobody has confirmed here; returns how many there were.

        Bringing them again does nothing. Whoever has signed up here with such an address and not confirmed it makes
        room: the other system knows whose it is. At most BATCH of them in one unit of work.
        """
        # Sorted, so that two imports at once wait for each other in one direction only.
        people = sorted((user for user in people if user.verified), key=lambda user: user.email.key)
        if not people:
            return 0
        keys = [user.email.key for user in people]
        transaction().write(_MAKE_ROOM({"keys": keys}))
        given: _Brought = {
            "id": [random_id() for _ in people],
            "email": [user.email.stored for user in people],
            "email_key": keys,
            "language": [user.language for user in people],
            "password_hash": [user.password_hash for user in people],
            "seen_address": None,
            "seen_device": "",
        }
        return transaction().fetch_one(_BROUGHT(given)) or 0
