"""The mailer: sends one finished letter over SMTP, on a connection kept from the letter before."""

import contextlib
import re
import ssl
import threading
import time
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from functools import lru_cache
from pathlib import Path

from auth_service import clock
from auth_service.adapters.email.smtp_connection import ConnectionLost, SmtpConnection
from auth_service.adapters.email.smtp_url import SmtpUrl
from auth_service.adapters.email.transport import MailDeferred, MailRefused

__all__ = ["MailDeferred", "MailRefused", "SmtpTransport", "SmtpUrl"]

# Everything in seven bits: no extension of the server is needed, and nobody on the way has to recode the letter.
POLICY = SMTP.clone(cte_type="7bit")

# Narrower than RFC 5321: no quoted local part, no address literal, no SMTPUTF8. Users' addresses are held to this where
# they come in; here it keeps out of the dialogue whatever could pass for a second address or a second command.
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")


class SmtpTransport:
    """A postman that speaks SMTP. One serves all threads: each letter in flight has a connection of its own."""

    def __init__(
        self,
        url: str,
        *,
        ca_file: Path | None = None,
        timeout: timedelta = timedelta(seconds=15),
        connect_timeout: timedelta = timedelta(seconds=5),
        idle: timedelta = timedelta(seconds=10),
    ) -> None:
        """Nothing is connected before the first letter. Raises ValueError when `url` is none of `SmtpUrl`.

        `ca_file` replaces the system's certificate authorities. `timeout` is for a whole letter, connecting included,
        `connect_timeout` for one address of the server; a connection without work is closed after `idle`.
        """
        self._url = SmtpUrl.parse(url)
        self._tls = _tls(ca_file)
        self._letter_seconds = timeout.total_seconds()
        self._connect_seconds = connect_timeout.total_seconds()
        self._idle_seconds = idle.total_seconds()
        self._lock = threading.Lock()
        self._kept: list[SmtpConnection] = []
        self._sweeper: threading.Thread | None = None

    def send(self, message: EmailMessage, *, to: str) -> None:
        """Hand `message` over for `to`, from the address in its From header. Raises MailDeferred, MailRefused."""
        until = clock.monotonic() + self._letter_seconds
        sender: str = message["From"].addresses[0].addr_spec
        if not ADDRESS.fullmatch(sender):
            raise MailDeferred(reason="the sender's address cannot be used")
        if not ADDRESS.fullmatch(to):
            raise MailRefused(reason="the recipient's address cannot be used")
        body = _on_the_wire(message)
        kept = self._newest_kept()
        if kept is not None:
            # Servers hang up on connections that they find idle or old, which says nothing about the letter.
            with contextlib.suppress(ConnectionLost):
                self._deliver(kept, sender=sender, to=to, body=body, until=until)
                return
        self._deliver(self._opened(until=until), sender=sender, to=to, body=body, until=until)

    def close(self) -> None:
        """Take leave of the server. Letters in flight are not disturbed, and another letter would connect anew."""
        with self._lock:
            kept, self._kept = self._kept, []
        for session in kept:
            session.leave()

    def _opened(self, *, until: float) -> SmtpConnection:
        session = SmtpConnection(url=self._url, tls=self._tls)
        try:
            session.open(until=until, connect_seconds=self._connect_seconds)
        finally:
            if not session.usable:
                session.close()
        return session

    def _deliver(self, session: SmtpConnection, *, sender: str, to: str, body: bytes, until: float) -> None:
        try:
            session.deliver(sender=sender, to=to, body=body, until=until)
        finally:
            if session.usable:
                self._keep(session)
            else:
                session.close()

    def _newest_kept(self) -> SmtpConnection | None:
        # The newest, so that those which are too many grow old and are closed.
        with self._lock:
            return self._kept.pop() if self._kept else None

    def _keep(self, session: SmtpConnection) -> None:
        with self._lock:
            session.kept_at = clock.monotonic()
            self._kept.append(session)
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep, name="mailer-idle", daemon=True)
                self._sweeper.start()

    def _sweep(self) -> None:
        """Close what lies idle; ends when nothing is kept, so that a mailer without work costs nothing."""
        while True:
            with self._lock:
                if not self._kept:
                    self._sweeper = None
                    return
                oldest = self._kept[0]
                rest = oldest.kept_at + self._idle_seconds - clock.monotonic()
                if rest <= 0:
                    del self._kept[0]
            if rest > 0:
                time.sleep(rest)
            else:
                oldest.leave()


@lru_cache
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """How to check the server's certificate and name; once in a process, since reading the authorities takes 40 ms."""
    return ssl.create_default_context(cafile=ca_file)


def _on_the_wire(message: EmailMessage) -> bytes:
    """The letter as DATA sends it: CRLF, dots at the start of a line doubled, ended by a lone one (RFC 5321, 4.5.2)."""
    lines = re.sub(rb"^\.", b"..", message.as_bytes(policy=POLICY), flags=re.MULTILINE)
    return lines + (b".\r\n" if lines.endswith(b"\r\n") else b"\r\n.\r\n")
