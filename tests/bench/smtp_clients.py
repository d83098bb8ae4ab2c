"""SMTP client benchmark: `SmtpTransport`, `smtplib.sendmail` and `aiosmtplib`.

`PYTHONPATH=src python -m tests.bench.smtp_clients` takes about a minute. `aiosmtplib` is measured if it is installed;
it is not a dependency (`pip install --target DIR aiosmtplib` and PYTHONPATH=src:DIR). Each client sends the same email
from as many threads as a mail worker has, on persistent connections, to a server that replies at once. The clients
alternate; the result is the median of the ratios. Processor time is more reliable than the rate on a shared machine.
"""

import argparse
import asyncio
import importlib
import importlib.util
import smtplib
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import Message
from typing import Any

from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.services.email import rendering
from tests.bench.emails import smtp_sink

THREADS = 4
SENDER, TO = "no-reply@example.org", "ada@example.org"

Client = Callable[[int, int], None]
"""Sends a number of emails to a port, divided among all threads."""


def email() -> Message:
    """An email of the service."""
    return rendering.render(
        "registration_code",
        "en",
        to=TO,
        sender=SENDER,
        message_id="<1@example.org>",
        date=datetime.now(UTC),
        values={"service": "Portal", "code": "750505", "minutes": 10},
    )


def from_all_threads(work: Callable[[], None]) -> None:
    """Run the same work in each thread."""
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ours(port: int, emails: int) -> None:
    """`SmtpTransport`, which the mail worker uses."""
    transport = SmtpTransport(f"smtp://127.0.0.1:{port}")
    message = email()

    def work() -> None:
        for _ in range(emails // THREADS):
            transport.send(message, to=TO)

    from_all_threads(work)
    transport.close()


def standard_library(port: int, emails: int) -> None:
    """`smtplib` as in its documentation, without a time limit for the whole email."""
    message = email()

    def work() -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="[127.0.0.1]", timeout=10) as connection:
            for _ in range(emails // THREADS):
                connection.sendmail(SENDER, [TO], message.as_bytes())

    from_all_threads(work)


def aiosmtplib(port: int, emails: int) -> None:
    """`aiosmtplib` in its own event loop, to which threads submit emails, with a time limit for each email."""
    library = importlib.import_module("aiosmtplib")
    loop = asyncio.new_event_loop()
    runner = threading.Thread(target=loop.run_forever)
    runner.start()
    message = email()

    async def connect() -> Any:
        connection = library.SMTP(hostname="127.0.0.1", port=port, local_hostname="[127.0.0.1]", start_tls=False)
        await connection.connect()
        return connection

    async def send(connection: Any, content: bytes) -> None:
        async with asyncio.timeout(45):
            await connection.sendmail(SENDER, [TO], content)

    def work() -> None:
        connection = asyncio.run_coroutine_threadsafe(connect(), loop).result()
        for _ in range(emails // THREADS):
            asyncio.run_coroutine_threadsafe(send(connection, message.as_bytes()), loop).result()
        asyncio.run_coroutine_threadsafe(connection.quit(), loop).result()

    from_all_threads(work)
    loop.call_soon_threadsafe(loop.stop)
    runner.join()
    loop.close()


def main() -> None:
    """Measure the clients alternately and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--emails", type=int, default=2000, help="of each client and round")
    arguments = parser.parse_args()
    clients: dict[str, Client] = {"ours": ours, "smtplib.sendmail": standard_library}
    if importlib.util.find_spec("aiosmtplib"):
        clients["aiosmtplib"] = aiosmtplib
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    with smtp_sink() as port:
        for client in clients.values():
            client(port, 4 * THREADS)
        for _ in range(arguments.rounds):
            for name, client in clients.items():
                began, processor = time.perf_counter(), time.process_time()
                client(port, arguments.emails)
                took, processor = time.perf_counter() - began, time.process_time() - processor
                figures[name].append((arguments.emails / took, processor / arguments.emails * 1e6))
    print(f"| client, {THREADS} threads, {arguments.rounds} rounds | emails/s | of ours | processor µs | of ours |")
    print("| --- | --- | --- | --- | --- |")
    for name, runs in figures.items():
        cells = []
        for side in (0, 1):
            ratio = statistics.median(run[side] / own[side] for run, own in zip(runs, figures["ours"], strict=True))
            cells.append(f"{statistics.median(run[side] for run in runs):,.0f} | {ratio:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
