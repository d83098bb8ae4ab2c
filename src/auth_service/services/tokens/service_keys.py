"""Service keys: API keys by which other services authenticate, limited to scopes."""

import hmac
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple, TypedDict

from sqlalchemy import (
    Interval,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from auth_service.db import Statement, Write, autocommit, fetch_one, transaction, unit_of_work
from auth_service.db.advisory_locks import Lock, transaction_lock
from auth_service.errors import ServiceKeyInvalid
from auth_service.models import ServiceKey
from auth_service.models.permission import is_permission
from auth_service.models.service_key import SCOPES

FORM = re.compile(r"svc_([0-9a-f]{12})_[0-9A-Za-z]{43}", re.ASCII)
"""A fixed prefix, so that secret scanners find a leaked key. The last part has 256 bits of entropy."""

ALPHABET = string.digits + string.ascii_letters
SECRET_LENGTH = 43
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
MAX_LIVE_KEYS = 2
"""Live keys of one name: the old and the new one while a service rotates its key."""

LONGEST_LIFE = timedelta(days=366)

_MINUTE = timedelta(minutes=1)

# Statements are built at import: building one costs about as much as running it.

_live = and_(ServiceKey.revoked_at.is_(None), ServiceKey.expires_at > func.now())
_use_is_old = or_(ServiceKey.last_used_at.is_(None), ServiceKey.last_used_at < func.now() - _MINUTE)


class _ById(TypedDict):
    key_id: str


class _ByName(TypedDict):
    name: str


class _NewKey(_ByName):
    id: str
    digest: bytes
    scopes: list[str]
    ttl: timedelta


class _KeyRecord(NamedTuple):
    name: str
    digest: memoryview
    scopes: Sequence[str]
    use_is_old: bool


def _instant(value: datetime) -> datetime:
    return value


def _scopes(value: Sequence[str]) -> Sequence[str]:
    return value


_by_id = ServiceKey.id == bindparam("key_id")
_FIND = Statement(
    # A server that accepts no writes (failover) cannot record the use, and token checks go on.
    select(
        ServiceKey.name,
        ServiceKey.digest,
        ServiceKey.scopes,
        and_(_use_is_old, func.current_setting(literal_column("'transaction_read_only'")) == literal_column("'off'")),
    ).where(_by_id, _live),
    parameters=_ById,
    row=_KeyRecord,
)
_LIVE_SCOPES = Statement(select(ServiceKey.scopes).where(_by_id, _live), parameters=_ById, row=_scopes, prepared=False)
# SKIP LOCKED: a concurrent request already records the use, and no request waits for it.
_RECORD_USE = Write(
    update(ServiceKey)
    .where(ServiceKey.id.in_(select(ServiceKey.id).where(_by_id, _use_is_old).with_for_update(skip_locked=True)))
    .values(last_used_at=func.now()),
    parameters=_ById,
)
_LOCK = transaction_lock(Lock.SERVICE_KEYS)
_COUNT_LIVE = Statement(
    select(func.count()).where(ServiceKey.name == bindparam("name"), _live), parameters=_ByName, row=int
)
_ADD = Statement(
    insert(ServiceKey)
    .values(
        {name: bindparam(name) for name in ("id", "name", "digest", "scopes")}
        | {"expires_at": func.now() + bindparam("ttl", type_=Interval)}
    )
    .returning(ServiceKey.expires_at),
    parameters=_NewKey,
    row=_instant,
)
_REVOKE = Statement(
    update(ServiceKey).where(_by_id, _live).values(revoked_at=func.now()).returning(ServiceKey.id),
    parameters=_ById,
    row=str,
)


class KeyRefused(Exception):
    """A service key cannot be created with these values; the message says what to change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewServiceKey:
    """A new key and its value. The value is shown once: only its digest is stored."""

    id: str
    value: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceKeyInfo:
    """A service key without its secret, for operators."""

    id: str
    name: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    live: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrentService:
    """The service of a valid service key. Services are not users."""

    id: str
    name: str
    scopes: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceKeys:
    """Creates, verifies and revokes service keys. Nothing is cached, so that a revocation takes effect at once."""

    def authenticate(self, presented: str) -> CurrentService:
        """Verify a service key and return its service, whose scopes the caller checks. Raises ServiceKeyInvalid.

        Records the use of the key at most once a minute, in a unit of work of its own, so that a failing request is
        recorded too.
        """
        match = FORM.fullmatch(presented)
        if not match:
            raise ServiceKeyInvalid
        key_id = match[1]
        row = fetch_one(_FIND({"key_id": key_id}))
        if row is None or not hmac.compare_digest(bytes(row.digest), _digest(presented)):
            raise ServiceKeyInvalid
        if row.use_is_old:
            with unit_of_work():
                transaction().write(_RECORD_USE({"key_id": key_id}))
        return CurrentService(id=key_id, name=row.name, scopes=row.scopes)

    def live_scopes(self, key_id: str) -> Sequence[str] | None:
        """Return the scopes of a key that is neither revoked nor expired; None for another one."""
        return fetch_one(_LIVE_SCOPES({"key_id": key_id}))

    def create(self, *, name: str, scopes: Sequence[str], ttl: timedelta) -> NewServiceKey:
        """Create a key. Raises KeyRefused, also for a third live key of a name: two are enough for rotation."""
        if not NAME.fullmatch(name):
            raise KeyRefused("use at most 40 lower-case letters, digits and hyphens as the name")
        if not scopes or not all(scope in SCOPES or is_permission(scope) for scope in scopes):
            raise KeyRefused(f"use permissions or {', '.join(SCOPES)} as scopes")
        if not timedelta(0) < ttl <= LONGEST_LIFE:
            raise KeyRefused(f"use a validity of more than zero and at most {LONGEST_LIFE.days} days")
        transaction().write(_LOCK({}))
        live = transaction().fetch_one(_COUNT_LIVE({"name": name})) or 0
        if live >= MAX_LIVE_KEYS:
            raise KeyRefused(f"two keys of {name} are live; revoke one first")
        key_id = secrets.token_hex(6)
        value = f"svc_{key_id}_{''.join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))}"
        expires_at = transaction().fetch_one(
            _ADD({"id": key_id, "name": name, "digest": _digest(value), "scopes": sorted(set(scopes)), "ttl": ttl})
        )
        if expires_at is None:
            raise RuntimeError("INSERT … RETURNING returned no row")
        return NewServiceKey(id=key_id, value=value, expires_at=expires_at)

    def revoke(self, key_id: str) -> bool:
        """Revoke a key; return False if there is no live key with this id."""
        return transaction().fetch_one(_REVOKE({"key_id": key_id})) is not None

    def all(self) -> Sequence[ServiceKeyInfo]:
        """Return all keys, ordered by name, the newest first."""
        columns = [getattr(ServiceKey, name) for name in ServiceKeyInfo.__dataclass_fields__ if name != "live"]
        query = select(*columns, _live.label("live")).order_by(ServiceKey.name, ServiceKey.created_at.desc())
        with autocommit() as connection:
            return [ServiceKeyInfo(**row) for row in connection.execute(query).mappings()]


def _digest(value: str) -> bytes:
    """Hash a service key with plain SHA-256: 256 random bits resist brute force without a slow or keyed hash."""
    return sha256(value.encode()).digest()
