"""TOTP of users: enrolment, verification with replay protection, and throttling of failed attempts."""

import logging
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Integer, Interval, and_, bindparam, delete, func, literal_column, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from auth_service.adapters.crypto.keys import SealBroken
from auth_service.adapters.crypto.totp import TotpSecrets, matching_step, step_of
from auth_service.db import Statement, Write, fetch_all, transaction
from auth_service.models import SecondFactor
from auth_service.services.credentials.second_factors import OfUser

log = logging.getLogger(__name__)

FREE_ATTEMPTS = 5
"""Consecutive failed attempts before the next one is delayed."""

MOST_FAILURES = 100
"""Consecutive failed attempts after which no code is accepted (NIST SP 800-63B-4, 3.2.2)."""

PENDING_TTL = timedelta(minutes=10)
"""How long an enrolment waits for its first code."""

_FIRST_DELAY: Any = literal_column("interval '1 second'")
_LONGEST_DELAY: Any = literal_column("interval '1 day'")
_DOUBLINGS: Any = literal_column("17")
"""After this many doublings the delay is longer than a day."""


class _Attempt(NamedTuple):
    """A counted attempt at the TOTP code of a user."""

    secret: memoryview
    failures: int
    """Consecutive failed attempts, this one included."""
    now: float
    """By the clock of the database, in seconds since 1970."""


class _Accept(OfUser):
    step: int


class _Begin(OfUser):
    pending_secret: bytes
    pending_session: uuid.UUID
    ttl: timedelta


class _Pending(OfUser):
    session_id: uuid.UUID


class _PendingSecret(NamedTuple):
    secret: memoryview
    now: float


class _Reseal(OfUser):
    old: bytes
    new: bytes


class _Batch(TypedDict):
    after: int
    at_most: int


class _Sealed(NamedTuple):
    user_id: int
    secret: memoryview


_of_user = SecondFactor.user_id == bindparam("user_id")
_is_on = SecondFactor.secret.is_not(None)
_now = func.extract("epoch", func.now())
_delay = func.least(
    _LONGEST_DELAY,
    _FIRST_DELAY * func.power(2, func.least(_DOUBLINGS, SecondFactor.failures - literal_column(str(FREE_ATTEMPTS)))),
)
# Counted before the code is compared, so that concurrent attempts cannot exceed the limit (brute force). Concurrent
# attempts wait for the row and see the count of each other. The time of a transaction is that of its beginning, so one
# that waited may be earlier than the last failure: it is delayed, too.
_COUNT_ATTEMPT = Statement(
    update(SecondFactor)
    .where(
        _of_user,
        _is_on,
        SecondFactor.failures < literal_column(str(MOST_FAILURES)),
        or_(
            SecondFactor.failures < literal_column(str(FREE_ATTEMPTS)),
            SecondFactor.failed_at + _delay <= func.now(),
        ),
    )
    .values(failures=SecondFactor.failures + 1, failed_at=func.now())
    .returning(SecondFactor.secret, SecondFactor.failures, _now),
    parameters=OfUser,
    row=_Attempt,
)
_no_failures = {"failures": literal_column("0"), "failed_at": null()}
_ACCEPT = Statement(
    update(SecondFactor)
    .where(_of_user, SecondFactor.last_step < bindparam("step"))
    .values(last_step=bindparam("step"), last_used_at=func.now(), **_no_failures)
    .returning(SecondFactor.user_id),
    parameters=_Accept,
    row=int,
)
CLEAR_FAILURES = Write(update(SecondFactor).where(_of_user).values(**_no_failures), parameters=OfUser)
"""Ends the throttling of TOTP, after a passkey or a recovery code."""


def _begin() -> Any:
    """Insert a pending enrolment, or replace the former one, unless TOTP is on."""
    pending: dict[str, Any] = {
        "pending_secret": bindparam("pending_secret"),
        "pending_session": bindparam("pending_session"),
        "pending_until": func.now() + bindparam("ttl", type_=Interval),
    }
    return (
        insert(SecondFactor)
        .values(user_id=bindparam("user_id"), **pending)
        .on_conflict_do_update(index_elements=[SecondFactor.user_id], set_=pending, where=SecondFactor.secret.is_(None))
        .returning(SecondFactor.user_id)
    )


_BEGIN = Statement(_begin(), parameters=_Begin, row=int)
_PENDING = Statement(
    select(SecondFactor.pending_secret, _now)
    .where(
        _of_user,
        SecondFactor.pending_session == bindparam("session_id", type_=SecondFactor.pending_session.type),
        SecondFactor.pending_until > func.now(),
        SecondFactor.secret.is_(None),
    )
    .with_for_update(),
    parameters=_Pending,
    row=_PendingSecret,
)
_CONFIRM = Write(
    update(SecondFactor)
    .where(_of_user)
    .values(
        secret=SecondFactor.pending_secret,
        confirmed_at=func.now(),
        last_step=bindparam("step"),
        last_used_at=func.now(),
        pending_secret=null(),
        pending_session=null(),
        pending_until=null(),
        **_no_failures,
    ),
    parameters=_Accept,
)
_DELETE = Write(delete(SecondFactor).where(_of_user), parameters=OfUser)
_SECRETS = Statement(
    select(SecondFactor.user_id, SecondFactor.secret)
    .where(_is_on, SecondFactor.user_id > bindparam("after"))
    .order_by(SecondFactor.user_id)
    .limit(bindparam("at_most", type_=Integer)),
    parameters=_Batch,
    row=_Sealed,
    prepared=False,
)
_RESEAL = Statement(
    update(SecondFactor)
    .where(and_(_of_user, SecondFactor.secret == bindparam("old")))
    .values(secret=bindparam("new"))
    .returning(SecondFactor.user_id),
    parameters=_Reseal,
    row=int,
    prepared=False,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TotpResult:
    """The result of an attempt at a TOTP code. Wrong and delayed attempts have the same fields."""

    matches: bool
    attempts_left: int
    """Attempts that remain without a delay."""
    is_last_free: bool
    """Whether this was the failed attempt after which the next one is delayed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resealed:
    """The result of encrypting some secrets anew."""

    last: int | None
    """The last user; None if there are no more."""
    resealed: int
    broken: int
    """How many secrets neither the current nor the previous key decrypts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Totp:
    """TOTP secrets of users and attempts at their codes; their state is in PostgreSQL only."""

    secrets: TotpSecrets

    def verify(self, user_id: int, code: str) -> TotpResult:
        """Count an attempt, and verify a code against the secret of a user; a code is accepted once.

        The caller has locked the user, and commits also after a failed attempt. A delayed attempt does the same work as
        a wrong one.
        """
        attempt = transaction().fetch_one(_COUNT_ATTEMPT({"user_id": user_id}))
        secret = self._opened(user_id, attempt.secret) if attempt else None
        step = matching_step(secret or bytes(20), code, now=step_of(attempt.now) if attempt else 0)
        if attempt is None or secret is None or step is None or not _accept(user_id, step):
            failures = attempt.failures if attempt else MOST_FAILURES
            return TotpResult(
                matches=False,
                attempts_left=max(0, FREE_ATTEMPTS - failures),
                is_last_free=failures == FREE_ATTEMPTS,
            )
        return TotpResult(matches=True, attempts_left=FREE_ATTEMPTS, is_last_free=False)

    def begin(self, user_id: int, *, session_id: uuid.UUID) -> bytes | None:
        """Begin an enrolment from a session, in place of a pending one; return the new secret, None if TOTP is on."""
        secret = self.secrets.new()
        begun = transaction().fetch_one(
            _BEGIN(
                {
                    "user_id": user_id,
                    "pending_secret": self.secrets.seal(secret, user_id=user_id),
                    "pending_session": session_id,
                    "ttl": PENDING_TTL,
                }
            )
        )
        return None if begun is None else secret

    def confirm(self, user_id: int, code: str, *, session_id: uuid.UUID) -> bool | None:
        """Finish the enrolment of a session with its first code; None without one, False for a wrong code.

        The code counts as used. The caller has locked the user.
        """
        pending = transaction().fetch_one(_PENDING({"user_id": user_id, "session_id": session_id}))
        secret = self._opened(user_id, pending.secret) if pending else None
        if pending is None or secret is None:
            return None
        step = matching_step(secret, code, now=step_of(pending.now))
        if step is None:
            return False
        transaction().write(_CONFIRM({"user_id": user_id, "step": step}))
        return True

    def delete(self, user_id: int) -> None:
        """Delete the secret of a user."""
        transaction().write(_DELETE({"user_id": user_id}))

    def reseal(self, *, after: int, at_most: int) -> Resealed:
        """Encrypt the secrets of the previous key with the current one, of at most `at_most` users beyond an id.

        A secret that changes meanwhile is left alone: the current key has encrypted the new one.
        """
        rows = fetch_all(_SECRETS({"after": after, "at_most": at_most}))
        resealed = broken = 0
        for row in rows:
            old = bytes(row.secret)
            try:
                new = self.secrets.resealed(old, user_id=row.user_id)
            except SealBroken:
                broken += 1
                continue
            if new is not None:
                transaction().write(_RESEAL({"user_id": row.user_id, "old": old, "new": new}))
                resealed += 1
        return Resealed(last=rows[-1].user_id if rows else None, resealed=resealed, broken=broken)

    def _opened(self, user_id: int, sealed: memoryview) -> bytes | None:
        try:
            return self.secrets.open(bytes(sealed), user_id=user_id)
        except SealBroken:
            log.error("a TOTP secret was sealed with another SECOND_FACTOR_KEY")  # noqa: TRY400 - expected
            return None


def _accept(user_id: int, step: int) -> bool:
    """Consume the time step; False if it or a later one was consumed before (replay protection)."""
    return transaction().fetch_one(_ACCEPT({"user_id": user_id, "step": step})) is not None
