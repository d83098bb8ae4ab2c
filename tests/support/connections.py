"""Database connections: their process ids, and ending one from outside."""

import psycopg2
from sqlalchemy import text

from auth_service.db import autocommit
from tests.support.stores import Stores


def end_session(stores: Stores, pid: int) -> None:
    connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            assert cursor.fetchone() == (True,)
    finally:
        connection.close()


def own_pid() -> int:
    with autocommit() as connection:
        pid: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return pid
