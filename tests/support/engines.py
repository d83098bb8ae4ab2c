"""Embedded engines: other processes that own them, what they store, and their processes."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from auth_service.embedded import processes
from auth_service.embedded.engines import Engines

ONCE = Retry(NoBackoff(), 0)

OWNER = """
import sys
from pathlib import Path
from auth_service.embedded.engines import running
with running(data_dir=Path(sys.argv[1]), durable=False) as engines:
    print(engines.borrowed, engines.database_url, engines.redis_url, flush=True)
    sys.stdin.read()
"""

FORKING_OWNER = """
import os, sys
from pathlib import Path
from auth_service.embedded.engines import running
with running(data_dir=Path(sys.argv[1]), durable=False) as engines:
    if os.fork() == 0:
        sys.exit()
    os.wait()
    print([server.answers() for server in engines.servers], flush=True)
"""


@contextmanager
def another_process(script: str, data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process that prints one line when it has its engines, and ends when its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            yield process
        finally:
            if process.stdin:
                process.stdin.close()


def line_of(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    assert select.select([process.stdout], [], [], 20)[0], "the other process printed nothing"
    fields = process.stdout.readline().split()
    assert fields, "the other process failed"
    return fields


def sql(engines: Engines, statement: str, *values: object) -> Any:
    """The first row of one statement, in a connection of its own."""
    connection = psycopg2.connect(engines.database_url.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def cache(engines: Engines) -> Any:
    return redis.Redis.from_url(engines.redis_url, socket_timeout=0.3, retry=ONCE)


def write(engines: Engines, *, value: str) -> None:
    sql(engines, "CREATE TABLE IF NOT EXISTS words (word text)")
    sql(engines, "INSERT INTO words VALUES (%s)", value)
    with cache(engines) as client:
        client.set("word", value)


def read(engines: Engines) -> tuple[str, str]:
    """The last written value, as each engine stores it."""
    with cache(engines) as client:
        return sql(engines, "SELECT word FROM words ORDER BY ctid DESC")[0], client.get("word").decode()


def pids(engines: Engines) -> set[int]:
    return {pid for each in engines.servers if (pid := each.pid)}


def present() -> set[int]:
    return {each.pid for each in processes.present()}


def families(pids_of: set[int]) -> set[int]:
    return {each.pid for each in processes.present() if each.pid in pids_of or each.parent in pids_of}
