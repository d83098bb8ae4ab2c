"""Signing keys of access tokens: sealed in PostgreSQL, key rotation without a rejected token."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict

from sqlalchemy import Interval, bindparam, delete, func, insert, null, or_, select, update

from auth_service import clock
from auth_service.adapters.crypto import access_tokens
from auth_service.adapters.crypto.access_tokens import KeySet
from auth_service.adapters.crypto.keys import SealBroken, Sealer
from auth_service.db import NoParameters, Statement, Write, autocommit, transaction, unit_of_work
from auth_service.db.advisory_locks import Lock, transaction_lock
from auth_service.errors import DatabaseUnavailable, KeysSealed, ServiceBusy, Unavailable
from auth_service.models import SigningKey
from auth_service.models.signing_key import CURRENT, NEXT, PREVIOUS

log = logging.getLogger(__name__)

CACHE_TTL = timedelta(seconds=2)
"""How long a process uses its cached keys; after this time every process knows a rotation."""

UNKNOWN_KID_INTERVAL = timedelta(seconds=1)
"""Shortest time between two reads that unknown key ids cause: tokens with random ids must not load the database."""

STALE_SIGNING_LIMIT = timedelta(seconds=30)
"""How long a process signs with cached keys that it cannot read again; retired keys verify for this time longer."""

JWKS_MAX_AGE = timedelta(minutes=5)
"""`max-age` of the published key set (JWKS, RFC 7517)."""

PUBLICATION_TIME = 2 * JWKS_MAX_AGE
"""How long a key is published before it signs: twice `max-age`, because a verifier may read through a cache."""

LOCAL_PUBLICATION_TIME = CACHE_TTL + timedelta(seconds=1)
"""How long a key is published before all processes of this service know it."""

MAX_TOKEN_LIFETIME = timedelta(minutes=15)
"""Retired keys verify at least this long, so that a lower token lifetime does not invalidate older tokens."""

# Built at import: every process runs it each CACHE_TTL, and after an unknown key id.
_PUBLISHED_KEYS = (
    select(SigningKey.kid, SigningKey.state, SigningKey.public_pem, SigningKey.private_sealed)
    .where(or_(SigningKey.retire_at.is_(None), SigningKey.retire_at > func.now()))
    .order_by(SigningKey.created_at, SigningKey.kid)  # so that every process publishes the same bytes
)


class _Retire(TypedDict):
    verification_ttl: timedelta


class _NewKey(TypedDict):
    kid: str
    state: str
    public_pem: str
    private_sealed: bytes


class _NextKey(NamedTuple):
    kid: str
    private_sealed: memoryview
    age: timedelta


class _State(NamedTuple):
    kid: str
    state: str


_LOCK = transaction_lock(Lock.SIGNING_KEYS)
_NEXT_KEY = Statement(
    select(SigningKey.kid, SigningKey.private_sealed, func.now() - SigningKey.created_at).where(
        SigningKey.state == NEXT
    ),
    parameters=NoParameters,
    row=_NextKey,
)
_STATES = Statement(select(SigningKey.kid, SigningKey.state), parameters=NoParameters, row=_State)
_DELETE_RETIRED = Write(delete(SigningKey).where(SigningKey.retire_at <= func.now()), parameters=NoParameters)
_DELETE_NEXT = Write(delete(SigningKey).where(SigningKey.state == NEXT), parameters=NoParameters)
_DELETE_ALL = Write(delete(SigningKey), parameters=NoParameters)
_PROMOTE_NEXT = Write(update(SigningKey).where(SigningKey.state == NEXT).values(state=CURRENT), parameters=NoParameters)
_RETIRE_CURRENT = Write(
    update(SigningKey)
    .where(SigningKey.state == CURRENT)
    .values(
        state=PREVIOUS, private_sealed=null(), retire_at=func.now() + bindparam("verification_ttl", type_=Interval)
    ),
    parameters=_Retire,
)
_ADD = Write(
    insert(SigningKey).values({name: bindparam(name) for name in ("kid", "state", "public_pem", "private_sealed")}),
    parameters=_NewKey,
)


class KeyTooYoung(Exception):
    """The next key has not been published for long enough; `wait` is the remaining time."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(f"the next key has to be published for another {wait.total_seconds():.0f} s")
        self.wait = wait


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyInfo:
    """A signing key without its private half, for operators."""

    kid: str
    state: str
    created_at: datetime
    retire_at: datetime | None


@dataclass(kw_only=True)
class _Cache:
    """The keys that this process has read. Times are those of the monotonic clock of the process."""

    keys: KeySet | None = None
    checked_at: float = float("-inf")
    read_at: float = float("-inf")
    error: type[Unavailable] | None = None
    """The error of the last read; None after a successful one."""
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, kw_only=True)
class SigningKeys:
    """Reads the signing keys through a cache in the process, and rotates them."""

    sealer: Sealer
    token_lifetime: timedelta
    monotonic: Callable[[], float] = clock.monotonic
    """The clock that tells how old the cached keys are."""
    _cache: _Cache = field(default_factory=_Cache, repr=False)

    def for_verification(self) -> KeySet:
        """Return the keys for verification, at most CACHE_TTL old; older ones while the database is unavailable.

        Raises DatabaseUnavailable, ServiceBusy or KeysSealed if this process has never read any keys.
        """
        cache = self._cache
        if cache.keys is not None and not self._has_passed(cache.checked_at, CACHE_TTL):
            return cache.keys
        # While one thread reads the keys, the others use the cached ones.
        return self._read_again(every=CACHE_TTL, wait=cache.keys is None)

    def for_signing(self) -> KeySet:
        """Return the keys for signing.

        Raises DatabaseUnavailable if they were last read more than STALE_SIGNING_LIMIT ago, because the current key may
        be retired already.
        """
        keys = self.for_verification()
        if self._has_passed(self._cache.read_at, STALE_SIGNING_LIMIT):
            # After an idle time another thread may be reading the keys right now: wait for it.
            keys = self._read_again(every=CACHE_TTL, wait=True)
        if self._has_passed(self._cache.read_at, STALE_SIGNING_LIMIT):
            raise DatabaseUnavailable(retry_after=1)
        return keys

    def for_kid(self, kid: str) -> KeySet:
        """Return the keys for verification, read again if they do not include `kid`, which may be a new key.

        Raises DatabaseUnavailable, ServiceBusy or KeysSealed if `kid` is unknown and the keys cannot be read: the token
        may be valid, so it must not be rejected.
        """
        keys = self.for_verification()
        if kid in keys.verifying:
            return keys
        keys = self._read_again(every=UNKNOWN_KID_INTERVAL, wait=True)
        if kid not in keys.verifying and self._cache.error is not None:
            raise self._cache.error(retry_after=1)
        return keys

    def rotate(self, *, published_for: timedelta = PUBLICATION_TIME) -> str:
        """Promote the next key to the current key, in the current unit of work; return its id.

        The previous key verifies until its last token has expired; its private half is deleted. Raises KeyTooYoung if
        the next key was published less than `published_for` ago, because verifiers might not know it yet, and
        KeysSealed.
        """
        self._lock()
        next_key = transaction().fetch_one(_NEXT_KEY({}))
        if next_key is not None:
            if next_key.age < published_for:
                raise KeyTooYoung(published_for - next_key.age)
            # Fails now, in the rotation, and not when the key has to sign.
            self._unseal(next_key.kid, bytes(next_key.private_sealed))
        transaction().write(_DELETE_RETIRED({}))
        self._retire_current()
        transaction().write(_PROMOTE_NEXT({}))
        return self._create_missing()

    def replace(self, *, distrust: bool) -> str:
        """Create a new current and a new next key, in the current unit of work; return the id of the current one.

        Use it after a change of KEYRING_KEY, which makes the sealed keys unreadable. `distrust` also deletes the old
        keys, as after a leak: every access token signed with them is rejected.
        """
        self._lock()
        if distrust:
            transaction().write(_DELETE_ALL({}))
        else:
            self._retire_current()
            transaction().write(_DELETE_NEXT({}))
        return self._create_missing()

    def all(self) -> Sequence[KeyInfo]:
        """Return all keys: previous, current, next."""
        columns = (SigningKey.kid, SigningKey.state, SigningKey.created_at, SigningKey.retire_at)
        with autocommit() as connection:
            keys = [KeyInfo(**row) for row in connection.execute(select(*columns)).mappings()]
        return sorted(keys, key=lambda key: ((PREVIOUS, CURRENT, NEXT).index(key.state), key.created_at))

    def _read_again(self, *, every: timedelta, wait: bool) -> KeySet:
        """Read the keys, unless another thread did so within `every`; `wait` for a thread that is reading."""
        cache = self._cache
        if not cache.lock.acquire(blocking=wait) and cache.keys is not None:
            return cache.keys
        try:
            if cache.keys is not None and not self._has_passed(cache.checked_at, every):
                return cache.keys
            return self._refresh(cache)
        finally:
            cache.lock.release()

    def _refresh(self, cache: _Cache) -> KeySet:
        began = self.monotonic()
        try:
            cache.keys = self._read() or self._create_first()
            cache.read_at, cache.error = began, None
        except (DatabaseUnavailable, ServiceBusy, KeysSealed) as error:
            if cache.keys is None:
                raise
            cache.error = type(error)
            log.warning("the signing keys could not be read again", extra={"error": error.code})
        finally:
            cache.checked_at = self.monotonic()
        return cache.keys

    def _read(self) -> KeySet | None:
        with autocommit() as connection:
            rows = connection.execute(_PUBLISHED_KEYS).all()
        cached = self._cache.keys
        for kid, state, _, sealed in rows:
            if state == CURRENT and sealed is not None:
                return KeySet(
                    signing_kid=kid,
                    signing_key=cached.signing_key
                    if cached and cached.signing_kid == kid
                    else access_tokens.private_key(self._unseal(kid, sealed)),
                    verifying={
                        row.kid: (cached and cached.verifying.get(row.kid)) or access_tokens.public_key(row.public_pem)
                        for row in rows
                    },
                )
        return None

    def _unseal(self, kid: str, sealed: bytes) -> str:
        try:
            pem: str = self.sealer.open(sealed, place=kid.encode())["pem"]
        except SealBroken:
            log.error("a signing key was sealed with another KEYRING_KEY", extra={"kid": kid})  # noqa: TRY400 - expected
            raise KeysSealed from None
        return pem

    def _create_first(self) -> KeySet:
        """Create the first keys; of several processes that start concurrently, one creates them."""
        with unit_of_work():
            self._lock()
            self._create_missing()
        keys = self._read()
        if keys is None:
            raise DatabaseUnavailable(retry_after=1)
        return keys

    def _lock(self) -> None:
        transaction().write(_LOCK({}))

    def _retire_current(self) -> None:
        verification_ttl = max(self.token_lifetime, MAX_TOKEN_LIFETIME) + STALE_SIGNING_LIMIT + access_tokens.LEEWAY
        transaction().write(_RETIRE_CURRENT({"verification_ttl": verification_ttl}))

    def _create_missing(self) -> str:
        """Create the current and the next key if they are missing; return the id of the current one."""
        kids = {key.state: key.kid for key in transaction().fetch_all(_STATES({}))}
        for state in (CURRENT, NEXT):
            if state in kids:
                continue
            kid, private_pem, public_pem = access_tokens.new_key()
            sealed = self.sealer.seal({"pem": private_pem}, place=kid.encode())
            transaction().write(_ADD({"kid": kid, "state": state, "public_pem": public_pem, "private_sealed": sealed}))
            kids[state] = kid
        return kids[CURRENT]

    def _has_passed(self, instant: float, duration: timedelta) -> bool:
        """Whether at least `duration` has passed since a time of the monotonic clock."""
        return self.monotonic() - instant >= duration.total_seconds()
