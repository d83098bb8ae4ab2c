"""Idempotency keys: a repeated POST of an administrator or a service gets the stored answer of the first one."""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import BigInteger, Integer, Interval, LargeBinary, Text, bindparam, cast, delete, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB

from auth_service.db import Statement, Write, transaction
from auth_service.errors import IdempotencyKeyReused
from auth_service.models import IdempotencyKey
from auth_service.services.caller import Caller

TTL = timedelta(hours=24)


class _ByKey(TypedDict):
    caller: str
    key: str


class _Lock(TypedDict):
    number: int


class _New(_ByKey):
    body_digest: bytes
    answer: str
    ttl: timedelta


class _Stored(NamedTuple):
    body_digest: memoryview
    answer: dict[str, Any]


class _Expired(TypedDict):
    at_most: int


_caller, _key = bindparam("caller", type_=Text), bindparam("key", type_=Text)
_LOCK = Write(
    select(func.pg_advisory_xact_lock(bindparam("number", type_=BigInteger))), parameters=_Lock, prepared=False
)
_FIND = Statement(
    select(IdempotencyKey.body_digest, IdempotencyKey.answer).where(
        IdempotencyKey.caller == _caller, IdempotencyKey.key == _key, IdempotencyKey.expires_at > func.now()
    ),
    parameters=_ByKey,
    row=_Stored,
    prepared=False,
)
_DELETE_OLD = Write(
    delete(IdempotencyKey).where(IdempotencyKey.caller == _caller, IdempotencyKey.key == _key),
    parameters=_ByKey,
    prepared=False,
)
_SAVE = Write(
    insert(IdempotencyKey).values(
        caller=_caller,
        key=_key,
        body_digest=bindparam("body_digest", type_=LargeBinary),
        answer=cast(bindparam("answer", type_=Text), JSONB),
        expires_at=func.now() + bindparam("ttl", type_=Interval),
    ),
    parameters=_New,
    prepared=False,
)


def _delete_expired() -> Any:
    batch = (
        select(IdempotencyKey.caller, IdempotencyKey.key)
        .where(IdempotencyKey.expires_at < func.now())
        .limit(bindparam("at_most", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("batch")
    )
    return (
        delete(IdempotencyKey)
        .where(IdempotencyKey.caller == batch.c.caller, IdempotencyKey.key == batch.c.key)
        .returning(IdempotencyKey.key)
    )


_DELETE_EXPIRED = Statement(_delete_expired(), parameters=_Expired, row=str, prepared=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAnswer:
    """The answer to the first request: its status, and its body as text."""

    status: int
    body: str


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyedRequest:
    """A request with an idempotency key, whose answer is stored in the transaction of its change."""

    caller: Caller
    key: str
    request: bytes
    """Method, path and body: what must be the same in a repeated request."""

    def earlier_answer(self) -> StoredAnswer | None:
        """Return the answer of an earlier request with this key, or None. Raises IdempotencyKeyReused.

        Concurrent requests with one key wait for each other until their transactions end, so that one does the work.
        """
        transaction().write(_LOCK({"number": self._lock_number()}))
        stored = transaction().fetch_one(_FIND({"caller": self.caller.subject, "key": self.key}))
        if stored is None:
            return None
        if bytes(stored.body_digest) != self._digest():
            raise IdempotencyKeyReused
        return StoredAnswer(**stored.answer)

    def save(self, answer: StoredAnswer) -> None:
        """Store the answer, in the transaction of the change."""
        by_key: _ByKey = {"caller": self.caller.subject, "key": self.key}
        transaction().write(_DELETE_OLD(by_key))
        text = json.dumps({"status": answer.status, "body": answer.body})
        transaction().write(_SAVE({**by_key, "body_digest": self._digest(), "answer": text, "ttl": TTL}))

    def _digest(self) -> bytes:
        return hashlib.sha256(self.request).digest()

    def _lock_number(self) -> int:
        digest = hashlib.sha256(f"idempotency {self.caller.subject} {self.key}".encode()).digest()
        return int.from_bytes(digest[:8], signed=True)


def delete_expired_keys(*, at_most: int) -> int:
    """Delete at most `at_most` expired keys; return how many."""
    return len(transaction().fetch_all(_DELETE_EXPIRED({"at_most": at_most})))
