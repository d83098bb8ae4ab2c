"""Emails per second: one mail worker sends a full outbox to an SMTP server that replies at once."""

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from auth_service.adapters.crypto.keys import Sealer
from tests.bench.testbed import ROOT, Testbed, processor_seconds

EMAILS = 3_000


def emails_a_second(
    testbed: Testbed, database_url: str, *, emails: int = EMAILS, checkout: Path = ROOT
) -> tuple[float, float]:
    """The rate of the mail worker of a checkout, and its processor seconds per email."""
    sealer = Sealer(testbed.secrets["OUTBOX_KEY"], purpose="letters")
    with smtp_sink() as port, closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("DELETE FROM letters")
        for number in range(emails):
            id_ = uuid.uuid4()
            cursor.execute(
                "INSERT INTO letters (id, dedup_key, kind, recipient, recipient_key, language, payload, not_after)"
                " VALUES (%s, %s, 'registration_code', %s, %s, 'en', %s, now() + interval '1 hour')",
                (
                    str(id_),
                    str(id_),
                    f"person{number}@example.org",
                    f"person{number}@example.org",
                    sealer.seal({"code": "750505", "minutes": 10}, place=id_.bytes),
                ),
            )
        environment = {**testbed.environment(database_url, smtp_port=port), "PYTHONPATH": str(checkout / "src")}
        with testbed.running([sys.executable, str(checkout / "manage.py"), "mail", "deliver"], environment) as worker:

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
    """Run the SMTP sink in its own process; yields its port."""
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
