"""Work of a request: password hashes, round trips, statements, commits and rows, for the comparison of equal work."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import nacl.pwhash
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support import round_trips, transactions
from tests.support.actors import ApiClient
from tests.support.stores import Query

ROWS_OF_TRANSACTION = """
    SELECT (SELECT count(*) FROM events WHERE xmin::text::bigint = %s)
        + (SELECT count(*) FROM failure_slots WHERE xmin::text::bigint = %s)
"""

Request = Callable[[ApiClient, str], TestResponse]


@dataclass
class Work:
    """The work of one request."""

    hashes: list[dict[str, Any]] = field(default_factory=list)
    """The parameters of each Argon2id call: equal parameters take equal time."""
    redis: int = 0
    """Round trips."""
    postgres: int = 0
    """Round trips."""
    commits: int = 0
    """Transactions with a commit record on disk."""
    statements: list[str] = field(default_factory=list)
    """The statements that PostgreSQL ran, by name."""
    scripts: list[bytes] = field(default_factory=list)
    """The scripts that Redis ran, by digest."""
    rows_read: int = 0
    """Rows that PostgreSQL returned."""
    rows: int = 0
    """Rows that the audit log got, and slots that took the place of such a row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Meter:
    """Counts the work of requests."""

    app: Flask
    work: list[Work]
    query: Query

    def of(self, request: Request, email: str) -> tuple[Work, TestResponse]:
        """The work of a request for an address, from a separate client and network."""
        api = ApiClient(self.app, address="198.51.100.9")
        self.work.append(work := Work())
        with round_trips.of_this_thread() as trips, transactions.committed(self.app) as committed:
            response = request(api, email)
        work.redis = trips.redis
        work.postgres = trips.postgres - committed.added
        work.commits = len(committed.ids)
        work.statements, work.scripts = committed.statements, trips.scripts
        work.rows_read = committed.rows_read
        for written in committed.ids:
            [(rows,)] = self.query(ROWS_OF_TRANSACTION, written, written)
            work.rows += rows
        return work, response

    @classmethod
    def install(cls, app: Flask, query: Query, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Begin to count the calls of Argon2id."""
        work = [Work()]
        kdf: Callable[..., bytes] = nacl.pwhash.argon2id.kdf

        def counted_kdf(size: int, password: bytes, salt: bytes, **costs: Any) -> bytes:
            work[-1].hashes.append({"size": size, "salt": len(salt), **costs})
            return kdf(size, password, salt, **costs)

        monkeypatch.setattr(nacl.pwhash.argon2id, "kdf", counted_kdf)
        return cls(app=app, work=work, query=query)
