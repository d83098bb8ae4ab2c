"""Round trips: how often a request waits for PostgreSQL and for Redis."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2.extensions
from redis.connection import AbstractConnection

SCRIPT = re.compile(rb"EVALSHA\r\n\$40\r\n([0-9a-f]{40})\r\n")
"""A script call as Redis receives it."""


@dataclass
class RoundTrips:
    """The count of round trips to each store."""

    postgres: int = 0
    redis: int = 0
    scripts: list[bytes] = field(default_factory=list, compare=False)
    """The digests of the scripts that Redis ran."""


@contextmanager
def counted() -> Iterator[list[None]]:
    """Record each wait of psycopg2 for the server."""
    wait = psycopg2.extensions.get_wait_callback()
    waits: list[None] = []

    def counting(connection: psycopg2.extensions.connection) -> None:
        waits.append(None)
        wait(connection)

    psycopg2.extensions.set_wait_callback(counting)
    try:
        yield waits
    finally:
        psycopg2.extensions.set_wait_callback(wait)


@contextmanager
def of_this_thread() -> Iterator[RoundTrips]:
    """Count the round trips of the calling thread only.

    Counted in the drivers: each wait of psycopg2, and each send of redis-py, in which several commands may leave
    together.
    """
    round_trips = RoundTrips()
    here = threading.get_ident()
    wait = psycopg2.extensions.get_wait_callback()
    send: Any = AbstractConnection.send_packed_command

    def counting_wait(connection: psycopg2.extensions.connection) -> None:
        round_trips.postgres += threading.get_ident() == here
        wait(connection)

    def counting_send(connection: Any, *arguments: Any, **options: Any) -> None:
        if threading.get_ident() == here:
            round_trips.redis += 1
            round_trips.scripts += SCRIPT.findall(b"".join(arguments[0]))
        send(connection, *arguments, **options)

    psycopg2.extensions.set_wait_callback(counting_wait)
    AbstractConnection.send_packed_command = counting_send  # type: ignore[method-assign, assignment]
    try:
        yield round_trips
    finally:
        AbstractConnection.send_packed_command = send  # type: ignore[method-assign]
        psycopg2.extensions.set_wait_callback(wait)
