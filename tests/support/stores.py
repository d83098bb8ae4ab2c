"""PostgreSQL and Redis of a test run: URLs, keys, and statements outside of the application."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.sql

from auth_service.cli.settings import read_settings

LAST_REDIS = 15
"""The last logical database of a Redis with its default settings; the first one is that of the developer."""

CODE_KEY = "tests-only-codes-0123456789-abcdefghijklmnopqrstuvwxyz"
OUTBOX_KEY = "tests-only-outbox-0123456789-abcdefghijklmnopqrstuvwxyz"
SESSION_KEY = "tests-only-session-0123456789-abcdefghijklmnopqrstuvwxyz"
KEYRING_KEY = "tests-only-keyring-0123456789-abcdefghijklmnopqrstuvwxyz"
SECOND_FACTOR_KEY = "tests-only-factors-0123456789-abcdefghijklmnopqrstuvwxyz"


Query = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stores:
    """The stores of a test run."""

    database_url: str
    redis_url: str


def named_stores() -> Stores | None:
    """The stores that `.env` names."""
    settings = read_settings()
    if settings.database_url and settings.redis_url:
        return Stores(database_url=settings.database_url, redis_url=settings.redis_url)
    return None


def redis_of_worker() -> int:
    """The logical database of this process in the Redis of the settings, another one for each worker of pytest-xdist.

    Raises ValueError if Redis has no database left.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if worker >= LAST_REDIS:
        raise ValueError(f"Redis has {LAST_REDIS} databases for tests; run pytest with at most as many workers (-n).")
    return LAST_REDIS - worker


@contextmanager
def temporary_database(url: str, name: str) -> Iterator[None]:
    """Create this database beside the one at `url`, and drop it afterwards."""
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    connection.autocommit = True

    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(psycopg2.sql.SQL(statement).format(psycopg2.sql.Identifier(name)))

    run("CREATE DATABASE {}")
    try:
        yield
    finally:
        # A worker of autovacuum belongs to the superuser and cannot be terminated from here; it ends by itself.
        give_up_at = time.monotonic() + 30
        while True:
            try:
                run("DROP DATABASE {} WITH (FORCE)")
            except psycopg2.errors.InsufficientPrivilege:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.1)
            else:
                break
        connection.close()


def asking(url: str) -> Query:
    """A function that runs a statement with optional parameters outside of the application, and commits."""

    def query(statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg2.connect(url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            rows = list(cursor.fetchall()) if cursor.description else []
        connection.close()
        return rows

    return query
