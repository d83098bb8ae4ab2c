"""The keyring: signing keys in PostgreSQL, sealed, rotated without a refused token."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict

from sqlalchemy import BigInteger, Interval, bindparam, delete, func, insert, literal, null, or_, select, update

from auth_service import clock
from auth_service.adapters.crypto import access_tokens
from auth_service.adapters.crypto.access_tokens import KeySet
from auth_service.adapters.crypto.keys import SealBroken, Sealer
from auth_service.db import NoParameters, Statement, Write, autocommit, transaction, unit_of_work
from auth_service.db.advisory_locks import Lock
from auth_service.errors import DatabaseUnavailable, KeysSealed, ServiceBusy, Unavailable
from auth_service.models import SigningKey
from auth_service.models.signing_key import CURRENT, NEXT, PREVIOUS

log = logging.getLogger(__name__)

CACHE_TTL = timedelta(seconds=2)
"""How long a process goes on with the keys that it has read. A rotation is known everywhere after this."""

UNKNOWN_KID_INTERVAL = timedelta(seconds=1)
"""How often, at most, an unknown key id makes us look whether there are new keys."""

STALE_SIGNING_LIMIT = timedelta(seconds=30)
"""How long keys that could not be read again may still sign; what they signed is good as long as that is kept."""

JWKS_MAX_AGE = timedelta(minutes=5)
"""How long others are told to keep the published keys."""

PUBLICATION_TIME = 2 * JWKS_MAX_AGE
"""How long a key is published before it signs: a verifier may have had its copy from a cache."""

LOCAL_PUBLICATION_TIME = CACHE_TTL + timedelta(seconds=1)
"""How long our own processes need to know a key."""

MAX_TOKEN_LIFETIME = timedelta(minutes=15)
"""A key outlives also the tokens that it signed before their lifetime was set lower."""

# Made once: this runs every two seconds in each process, and at once where a key is unknown.
_VERIFYING = (
    select(SigningKey.kid, SigningKey.state, SigningKey.public_pem, SigningKey.private_sealed)
    .where(or_(SigningKey.retire_at.is_(None), SigningKey.retire_at > func.now()))
    .order_by(SigningKey.created_at, SigningKey.kid)  # so that the published set is the same bytes everywhere
)


class _Retire(TypedDict):
    lives_on: timedelta


class _NewKey(TypedDict):
    kid: str
    state: str
    public_pem: str
    private_sealed: bytes


class _Coming(NamedTuple):
    kid: str
    private_sealed: memoryview
    age: timedelta


class _State(NamedTuple):
    kid: str
    state: str


_TAKE_TURN = Write(
    select(func.pg_advisory_xact_lock(literal(Lock.SIGNING_KEYS.value, type_=BigInteger))), parameters=NoParameters
)
_COMING = Statement(
    select(SigningKey.kid, SigningKey.private_sealed, func.now() - SigningKey.created_at).where(
        SigningKey.state == NEXT
    ),
    parameters=NoParameters,
    row=_Coming,
)
_STATES = Statement(select(SigningKey.kid, SigningKey.state), parameters=NoParameters, row=_State)
_DELETE_RETIRED = Write(delete(SigningKey).where(SigningKey.retire_at <= func.now()), parameters=NoParameters)
_DELETE_NEXT = Write(delete(SigningKey).where(SigningKey.state == NEXT), parameters=NoParameters)
_DELETE_ALL = Write(delete(SigningKey), parameters=NoParameters)
_PROMOTE_NEXT = Write(update(SigningKey).where(SigningKey.state == NEXT).values(state=CURRENT), parameters=NoParameters)
_RETIRE_CURRENT = Write(
    update(SigningKey)
    .where(SigningKey.state == CURRENT)
    .values(state=PREVIOUS, private_sealed=null(), retire_at=func.now() + bindparam("lives_on", type_=Interval)),
    parameters=_Retire,
)
_ADD = Write(
    insert(SigningKey).values({name: bindparam(name) for name in ("kid", "state", "public_pem", "private_sealed")}),
    parameters=_NewKey,
)


class KeyTooYoung(Exception):
    """The next key has not been published for long enough; `wait` says for how long it still has to be."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(f"the next key has to be published for another {wait.total_seconds():.0f} s")
        self.wait = wait


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyInfo:
    """A key as operators see it."""

    kid: str
    state: str
    created_at: datetime
    retire_at: datetime | None


@dataclass(kw_only=True)
class _Cache:
    """What this process knows of the keys. Instants are those of its own clock."""

    keys: KeySet | None = None
    checked_at: float = float("-inf")
    read_at: float = float("-inf")
    trouble: type[Unavailable] | None = None
    """Why they could not be read when they were last asked for."""
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, kw_only=True)
class SigningKeys:
    """Gives the keys of the moment, and rotates them."""

    sealer: Sealer
    token_lifetime: timedelta
    _cache: _Cache = field(default_factory=_Cache, repr=False)

    def for_verification(self) -> KeySet:
        """The keys to verify with, at most CACHE_TTL old; older ones while the database is away.

        Raises DatabaseUnavailable where there never were any, and KeysSealed.
        """
        cache = self._cache
        if cache.keys is not None and not _since(cache.checked_at, CACHE_TTL):
            return cache.keys
        # While one reads, the others go on with what they have.
        return self._read_again(every=CACHE_TTL, wait=cache.keys is None)

    def for_signing(self) -> KeySet:
        """The keys to sign with.

        Raises DatabaseUnavailable where they could not be read for so long that they may be old.
        """
        keys = self.for_verification()
        if _since(self._cache.read_at, STALE_SIGNING_LIMIT):
            # After a pause without requests another thread may be reading them at this moment: wait for it.
            keys = self._read_again(every=CACHE_TTL, wait=True)
        if _since(self._cache.read_at, STALE_SIGNING_LIMIT):
            raise DatabaseUnavailable(retry_after=1)
        return keys

    def for_kid(self, kid: str) -> KeySet:
        """The keys to verify with, read again if this one is not among them: it may have been made a moment ago.

        Raises DatabaseUnavailable, ServiceBusy or KeysSealed where it is not, and they could not be read: nobody can
        say then that the token is bad.
        """
        keys = self.for_verification()
        if kid in keys.verifying:
            return keys
        keys = self._read_again(every=UNKNOWN_KID_INTERVAL, wait=True)
        if kid not in keys.verifying and self._cache.trouble is not None:
            raise self._cache.trouble(retry_after=1)
        return keys

    def rotate(self, *, published_for: timedelta = PUBLICATION_TIME) -> str:
        """Let the next key sign, in the current unit of work; returns its id.

        The key that signed until now goes on verifying until its last token has expired; its private half is wiped.
        Raises KeyTooYoung where the next key was published less than `published_for` ago, because others might not know
        it yet, and KeysSealed.
        """
        self._take_turn()
        coming = transaction().fetch_one(_COMING({}))
        if coming is not None:
            if coming.age < published_for:
                raise KeyTooYoung(published_for - coming.age)
            self._opened(
                coming.kid, bytes(coming.private_sealed)
            )  # it would be too late to find out when it has to sign
        transaction().write(_DELETE_RETIRED({}))
        self._retire_current()
        transaction().write(_PROMOTE_NEXT({}))
        return self._complete()

    def replace(self, *, distrust: bool) -> str:
        """Make a new current and a new next key, in the current unit of work; returns the id of the current one.

        For another KEYRING_KEY, under which what was sealed before cannot be opened. `distrust` also forgets the keys
        that there were, as after a leak: every access token is refused from then on.
        """
        self._take_turn()
        if distrust:
            transaction().write(_DELETE_ALL({}))
        else:
            self._retire_current()
            transaction().write(_DELETE_NEXT({}))
        return self._complete()

    def all(self) -> Sequence[KeyInfo]:
        """All keys, in the order in which they sign."""
        columns = (SigningKey.kid, SigningKey.state, SigningKey.created_at, SigningKey.retire_at)
        with autocommit() as connection:
            found = [KeyInfo(**row) for row in connection.execute(select(*columns)).mappings()]
        return sorted(found, key=lambda key: ((PREVIOUS, CURRENT, NEXT).index(key.state), key.created_at))

    def _read_again(self, *, every: timedelta, wait: bool) -> KeySet:
        """Read the keys, unless somebody else has just done so; `wait` for whoever is doing it."""
        cache = self._cache
        if not cache.lock.acquire(blocking=wait) and cache.keys is not None:
            return cache.keys
        try:
            if cache.keys is not None and not _since(cache.checked_at, every):
                return cache.keys
            return self._ask(cache)
        finally:
            cache.lock.release()

    def _ask(self, cache: _Cache) -> KeySet:
        began = clock.monotonic()
        try:
            cache.keys = self._read() or self._made()
            cache.read_at, cache.trouble = began, None
        except (DatabaseUnavailable, ServiceBusy, KeysSealed) as away:
            if cache.keys is None:
                raise
            cache.trouble = type(away)
            log.warning("the signing keys could not be read again", extra={"trouble": away.code})
        finally:
            cache.checked_at = clock.monotonic()
        return cache.keys

    def _read(self) -> KeySet | None:
        with autocommit() as connection:
            rows = connection.execute(_VERIFYING).all()
        known = self._cache.keys
        for kid, state, _, sealed in rows:
            if state == CURRENT and sealed is not None:
                return KeySet(
                    signing_kid=kid,
                    signing_key=known.signing_key
                    if known and known.signing_kid == kid
                    else access_tokens.private_key(self._opened(kid, sealed)),
                    verifying={
                        row.kid: (known and known.verifying.get(row.kid)) or access_tokens.public_key(row.public_pem)
                        for row in rows
                    },
                )
        return None

    def _opened(self, kid: str, sealed: bytes) -> str:
        try:
            pem: str = self.sealer.open(sealed, place=kid.encode())["pem"]
        except SealBroken:
            log.error("a signing key was sealed with another KEYRING_KEY", extra={"kid": kid})  # noqa: TRY400 - expected
            raise KeysSealed from None
        return pem

    def _made(self) -> KeySet:
        """Make the first keys; of several processes that start at once, one does."""
        with unit_of_work():
            self._take_turn()
            self._complete()
        keys = self._read()
        if keys is None:
            raise DatabaseUnavailable(retry_after=1)
        return keys

    def _take_turn(self) -> None:
        transaction().write(_TAKE_TURN({}))

    def _retire_current(self) -> None:
        lives_on = max(self.token_lifetime, MAX_TOKEN_LIFETIME) + STALE_SIGNING_LIMIT + access_tokens.LEEWAY
        transaction().write(_RETIRE_CURRENT({"lives_on": lives_on}))

    def _complete(self) -> str:
        """Make the keys that are missing; returns the id of the current one."""
        there = {key.state: key.kid for key in transaction().fetch_all(_STATES({}))}
        for state in (CURRENT, NEXT):
            if state in there:
                continue
            kid, private_pem, public_pem = access_tokens.new_key()
            sealed = self.sealer.seal({"pem": private_pem}, place=kid.encode())
            transaction().write(_ADD({"kid": kid, "state": state, "public_pem": public_pem, "private_sealed": sealed}))
            there[state] = kid
        return there[CURRENT]


def _since(instant: float, duration: timedelta) -> bool:
    """Whether that instant of this process's clock is at least so long ago."""
    return clock.monotonic() - instant >= duration.total_seconds()
