"""Mail server that is slow: delivered within the time limits, counted beyond them."""

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage

import pytest

from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.transport import MailDeferred
from auth_service.cli.mail_worker import TIMEOUTS, CountedTransport
from auth_service.settings import Settings
from auth_service.wiring import mail_transport

TO = "ada@example.org"


class SlowServer(socketserver.ThreadingTCPServer):
    """An SMTP server that takes `seconds` for every reply."""

    daemon_threads = True

    def __init__(self, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.seconds = seconds
        self.received = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class Talk(socketserver.StreamRequestHandler):
    """One connection."""

    server: SlowServer

    def reply(self, text: str) -> None:
        time.sleep(self.server.seconds)
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self) -> None:
        self.reply("220 slow")
        while line := self.rfile.readline():
            if line.startswith(b"DATA"):
                self.reply("354 go on")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.server.received += 1
                self.reply("250 accepted")
            else:
                self.reply("250 well")


@contextmanager
def slow_server(seconds: float) -> Iterator[SlowServer]:
    """Such a server."""
    with SlowServer(seconds) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def email() -> EmailMessage:
    """An email."""
    message = EmailMessage()
    message["From"] = "no-reply@example.org"
    message["To"] = TO
    message.set_content("Hello.")
    return message


@pytest.mark.slow
def test_a_server_that_takes_three_seconds_for_every_reply_gets_the_email_with_the_default_settings(
    make_settings: Callable[..., Settings],
) -> None:
    with slow_server(3) as server:
        transport = mail_transport(make_settings(smtp_url=server.url))
        transport.send(email(), to=TO)

        assert server.received == 1


@pytest.mark.parametrize(
    ("step", "whole", "limit"),
    [(0.1, 10, "step"), (10, 0.5, "email")],
    ids=["one reply is too slow", "all replies together are too slow"],
)
def test_time_outs_are_counted_by_their_limit(step: float, whole: float, limit: str) -> None:
    before = TIMEOUTS.labels(limit)._value.get()
    with slow_server(0.2) as server:
        transport = CountedTransport(
            transport=SmtpTransport(server.url, step_timeout=timedelta(seconds=step), timeout=timedelta(seconds=whole))
        )
        with pytest.raises(MailDeferred) as deferred:
            transport.send(email(), to=TO)

    assert deferred.value.timeout == limit
    assert TIMEOUTS.labels(limit)._value.get() == before + 1


def test_other_failures_are_no_time_outs() -> None:
    transport = CountedTransport(transport=SmtpTransport("smtp://127.0.0.1:9"))
    before = [TIMEOUTS.labels(limit)._value.get() for limit in ("step", "email")]

    with pytest.raises(MailDeferred):
        transport.send(email(), to=TO)

    assert [TIMEOUTS.labels(limit)._value.get() for limit in ("step", "email")] == before
