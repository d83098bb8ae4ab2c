"""Emails a second: one mail worker empties an outbox into an SMTP server that answers at once."""

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from auth_service.adapters.crypto.keys import Sealer
from tests.bench.testbed import ROOT, Stage, processor_seconds

EMAILS = 3_000


def emails_a_second(
    stage: Stage, database_url: str, *, emails: int = EMAILS, checkout: Path = ROOT
) -> tuple[float, float]:
    """The rate of the mail worker of a checkout, and the processor seconds that it takes for an email."""
    sealer = Sealer(stage.secrets["OUTBOX_KEY"], purpose="letters")
    with smtp_sink() as port, closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("DELETE FROM letters")
        for number in range(emails):
            letter = uuid.uuid4()
            cursor.execute(
                "INSERT INTO letters (id, dedup_key, kind, recipient, recipient_key, language, payload, not_after)"
                " VALUES (%s, %s, 'registration_code', %s, %s, 'en', %s, now() + interval '1 hour')",
                (
                    str(letter),
                    str(letter),
                    f"letter{number}@example.org",
                    f"letter{number}@example.org",
                    sealer.seal({"code": "750505", "minutes": 10}, place=letter.bytes),
                ),
            )
        environment = {**stage.environment(database_url, smtp_port=port), "PYTHONPATH": str(checkout / "src")}
        with stage.running([sys.executable, str(checkout / "manage.py"), "mail", "deliver"], environment) as worker:

            def sent() -> int:
                cursor.execute("SELECT count(*) FROM letters WHERE state = 'sent'")
                [(count,)] = cursor.fetchall()
                return int(count)

            while not (first := sent()):
                time.sleep(0.02)
            began, processor = time.perf_counter(), processor_seconds(worker.pid)
            while (last := sent()) < emails:
                time.sleep(0.05)
            processor = processor_seconds(worker.pid) - processor
            return (last - first) / (time.perf_counter() - began), processor / (last - first)


@contextmanager
def smtp_sink() -> Iterator[int]:
    """An SMTP server in a process of its own; its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.smtp_sink"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate()
