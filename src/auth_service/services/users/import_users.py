"""User import: users of another system with their legacy password hashes, from JSON lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, column, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from auth_service.adapters.crypto import legacy_hashes
from auth_service.db import Statement, Write, transaction
from auth_service.invisible_characters import trimmed
from auth_service.models import PORTAL_USER, User, UserRole
from auth_service.models.audit_event import EventType
from auth_service.models.user import random_id
from auth_service.services.audit.statements import ClientParameters, audit_cte
from auth_service.services.caller import SYSTEM
from auth_service.services.email import addresses
from auth_service.services.email.addresses import Address
from auth_service.services.email.rendering import LANGUAGES

BATCH = 500
"""Users of one transaction; it takes PostgreSQL some tens of milliseconds."""

FIELDS = frozenset({"email", "verified", "password_hash", "language"})
METHOD = "import"
"""The `method` of the audit event `registered` of an imported user."""


class LineRejected(ValueError):
    """A line cannot be imported. The message names the reason without the content of the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedUser:
    """A user of another system."""

    email: Address
    verified: bool
    """Whether the other system has verified the address; other users are not imported."""
    password_hash: str | None = field(repr=False)
    language: str


def read(line: bytes) -> ImportedUser:
    """Parse a line: one JSON object in UTF-8 without unknown or repeated names or values of another type.

    Raises LineRejected, also for a hash that `legacy_hashes` rejects: no sign-in could verify it.
    """
    try:
        fields = json.loads(line.decode(), object_pairs_hook=_reject_repeated_names)
    except (ValueError, RecursionError):
        raise LineRejected("must be a JSON object in UTF-8 without repeated names") from None
    if not isinstance(fields, dict):
        raise LineRejected("must be a JSON object")
    if not fields.keys() <= FIELDS:
        raise LineRejected(f"must have no names other than {', '.join(sorted(FIELDS))}")
    language = fields.get("language", LANGUAGES[0])
    if language not in LANGUAGES:
        raise LineRejected(f"language: must be one of {', '.join(LANGUAGES)}")
    if not isinstance(fields.get("verified"), bool):
        raise LineRejected("verified: must be true or false")
    return ImportedUser(
        email=_address(fields.get("email")),
        verified=fields["verified"],
        password_hash=_hash(fields.get("password_hash")),
        language=language,
    )


def _reject_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError
    return fields


def _address(value: Any) -> Address:
    try:
        if isinstance(value, str):
            return addresses.parse(value)
    except ValueError:  # its message may contain parts of the address, which must not reach a log
        pass
    raise LineRejected("email: must be an address that this service accepts")


def _hash(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise LineRejected("password_hash: must be a string or null")
    # A hash contains no white space, but a column of fixed length pads it.
    password_hash = trimmed(value)
    try:
        legacy_hashes.parse(password_hash)
    except legacy_hashes.HashRejected as rejected:
        raise LineRejected(f"password_hash: {rejected}") from None
    return password_hash


def _import() -> Any:
    """Insert portal users whose address is not taken, each with the role and an audit event; return how many."""
    columns = {"id": BigInteger, "email": Text, "email_key": Text, "language": Text, "password_hash": Text}
    source = (
        func.unnest(*(bindparam(name, type_=ARRAY(sql_type)) for name, sql_type in columns.items()))
        .table_valued(*(column(name, sql_type) for name, sql_type in columns.items()))
        .render_derived("source")
    )
    confirmed = {"verified_mail": literal(True), "verified_at": func.now()}
    imported = (
        insert(User)
        .from_select(
            [*columns, *confirmed],
            select(*(source.c[name] for name in columns), *confirmed.values()),
            include_defaults=False,
        )
        .on_conflict_do_nothing(index_elements=[User.email_key])
        .returning(User.id.label("user_id"))
        .cte("imported")
    )
    role = select(imported.c.user_id, literal(PORTAL_USER))
    granted = insert(UserRole).from_select(["user_id", "role"], role).cte("granted")
    registered = audit_cte(EventType.REGISTERED, about=imported, actor=SYSTEM, method=literal(METHOD))
    return select(func.count()).select_from(imported).add_cte(granted, registered)


class _Import(ClientParameters):
    id: list[int]
    email: list[str]
    email_key: list[str]
    language: list[str]
    password_hash: list[str | None]


class _Keys(TypedDict):
    keys: list[str]


_IMPORT = Statement(_import(), parameters=_Import, row=int)
_DELETE_TEMPORARY_USERS = Write(
    delete(User).where(User.email_key == func.any(bindparam("keys", type_=ARRAY(Text))), User.verified_mail.is_(False)),
    parameters=_Keys,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class UserImport:
    """Imports users."""

    def import_users(self, users: Sequence[ImportedUser]) -> int:
        """Create portal users for the verified users whose address no verified user has; return how many.

        Idempotent. A temporary user with the address of an imported user is deleted, because the other system has
        verified the address (account pre-hijacking). Takes at most BATCH users in one unit of work.
        """
        # Sorted by address, so that two concurrent imports cannot deadlock.
        users = sorted((user for user in users if user.verified), key=lambda user: user.email.key)
        if not users:
            return 0
        keys = [user.email.key for user in users]
        transaction().write(_DELETE_TEMPORARY_USERS({"keys": keys}))
        parameters: _Import = {
            "id": [random_id() for _ in users],
            "email": [user.email.stored for user in users],
            "email_key": keys,
            "language": [user.language for user in users],
            "password_hash": [user.password_hash for user in users],
            "seen_address": None,
            "seen_device": "",
            "request_id": None,
        }
        return transaction().fetch_one(_IMPORT(parameters)) or 0
