"""Service keys: other services say who they are with one, and may ask what its scopes name."""

import hmac
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple, TypedDict

from sqlalchemy import BigInteger, Interval, and_, bindparam, func, insert, literal, or_, select, update

from auth_service.db import NoParameters, Statement, Write, autocommit, fetch_one, transaction, unit_of_work
from auth_service.db.advisory_locks import Lock
from auth_service.errors import ScopeMissing, ServiceKeyInvalid
from auth_service.models import ServiceKey
from auth_service.models.service_key import SCOPES

FORM = re.compile(r"svc_([0-9a-f]{12})_[0-9A-Za-z]{43}", re.ASCII)
"""Recognisable, so that scanners of secrets find one that somebody committed or logged. The last part has 256 bits."""

ALPHABET = string.digits + string.ascii_letters
SECRET_LENGTH = 43
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
LIVE_AT_ONCE = 2
LONGEST_LIFE = timedelta(days=366)

_MINUTE = timedelta(minutes=1)

# Statements are built at import: building one costs about as much as running it.

_live = and_(ServiceKey.revoked_at.is_(None), ServiceKey.expires_at > func.now())
_used_long_ago = or_(ServiceKey.last_used_at.is_(None), ServiceKey.last_used_at < func.now() - _MINUTE)


class _ById(TypedDict):
    key_id: str


class _ByName(TypedDict):
    name: str


class _NewKey(_ByName):
    id: str
    digest: bytes
    scopes: list[str]
    lives: timedelta


class _Found(NamedTuple):
    name: str
    digest: memoryview
    scopes: Sequence[str]
    used_long_ago: bool


def _instant(value: datetime) -> datetime:
    return value


_by_id = ServiceKey.id == bindparam("key_id")
_FIND = Statement(
    select(ServiceKey.name, ServiceKey.digest, ServiceKey.scopes, _used_long_ago).where(_by_id, _live),
    parameters=_ById,
    row=_Found,
)
# A request that finds the row locked leaves the update to the one that locked it: no request waits for it.
_NOTE_USE = Write(
    update(ServiceKey)
    .where(ServiceKey.id.in_(select(ServiceKey.id).where(_by_id, _used_long_ago).with_for_update(skip_locked=True)))
    .values(last_used_at=func.now()),
    parameters=_ById,
)
_TAKE_TURN = Write(
    select(func.pg_advisory_xact_lock(literal(Lock.SERVICE_KEYS.value, type_=BigInteger))), parameters=NoParameters
)
_COUNT_LIVE = Statement(
    select(func.count()).where(ServiceKey.name == bindparam("name"), _live), parameters=_ByName, row=int
)
_ADD = Statement(
    insert(ServiceKey)
    .values(
        {name: bindparam(name) for name in ("id", "name", "digest", "scopes")}
        | {"expires_at": func.now() + bindparam("lives", type_=Interval)}
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
    """A service key cannot be made like this; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewServiceKey:
    """A key that was just made, and its value, which nobody can read again."""

    id: str
    value: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceKeyInfo:
    """A key as operators see it."""

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
    """Whoever a good service key speaks for. It is nobody's user, and no user is it."""

    id: str
    name: str
    scopes: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceKeys:
    """The keys of other services. Nothing is kept in the process: one that was revoked is refused from then on."""

    def admit(self, presented: str, *, scope: str) -> CurrentService:
        """Whom a key speaks for, in one SELECT. Raises ServiceKeyInvalid, and ScopeMissing for a good one of others.

        Once a minute its use is written down, in a unit of work of its own: whatever becomes of the request.
        """
        found = FORM.fullmatch(presented)
        if not found:
            raise ServiceKeyInvalid
        key_id = found[1]
        row = fetch_one(_FIND({"key_id": key_id}))
        if row is None or not hmac.compare_digest(bytes(row.digest), _digest(presented)):
            raise ServiceKeyInvalid
        if row.used_long_ago:
            with unit_of_work():
                transaction().write(_NOTE_USE({"key_id": key_id}))
        if scope not in row.scopes:
            raise ScopeMissing(scope=scope)
        return CurrentService(id=key_id, name=row.name, scopes=row.scopes)

    def create(self, *, name: str, scopes: Sequence[str], lives: timedelta) -> NewServiceKey:
        """Make a key. Raises KeyRefused; also where two of the name live, enough to change from one to the other."""
        if not NAME.fullmatch(name):
            raise KeyRefused("a name is up to 40 lower-case letters, digits and hyphens")
        if not scopes or not set(scopes) <= set(SCOPES):
            raise KeyRefused(f"scopes are {', '.join(SCOPES)}")
        if not timedelta(0) < lives <= LONGEST_LIFE:
            raise KeyRefused(f"a key lives for more than no time, and at most {LONGEST_LIFE.days} days")
        transaction().write(_TAKE_TURN({}))
        live = transaction().fetch_one(_COUNT_LIVE({"name": name})) or 0
        if live >= LIVE_AT_ONCE:
            raise KeyRefused(f"two keys of {name} are live; revoke one first")
        key_id = secrets.token_hex(6)
        value = f"svc_{key_id}_{''.join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))}"
        expires_at = transaction().fetch_one(
            _ADD({"id": key_id, "name": name, "digest": _digest(value), "scopes": sorted(set(scopes)), "lives": lives})
        )
        if expires_at is None:
            raise RuntimeError("INSERT … RETURNING returned no row")
        return NewServiceKey(id=key_id, value=value, expires_at=expires_at)

    def revoke(self, key_id: str) -> bool:
        """End a key at once; False where there is no such live one."""
        return transaction().fetch_one(_REVOKE({"key_id": key_id})) is not None

    def all(self) -> Sequence[ServiceKeyInfo]:
        """Every key, by name, the newest first."""
        columns = [getattr(ServiceKey, name) for name in ServiceKeyInfo.__dataclass_fields__ if name != "live"]
        wanted = select(*columns, _live.label("live")).order_by(ServiceKey.name, ServiceKey.created_at.desc())
        with autocommit() as connection:
            return [ServiceKeyInfo(**row) for row in connection.execute(wanted).mappings()]


def _digest(value: str) -> bytes:
    """A plain digest: of 256 random bits there is nothing to guess, and no secret whose change would end every key."""
    return sha256(value.encode()).digest()
