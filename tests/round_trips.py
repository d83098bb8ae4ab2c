"""Counts how often PostgreSQL is waited for."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.extensions


@contextmanager
def counted() -> Iterator[list[None]]:
    """Notes each time that psycopg2 waits for the server."""
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
