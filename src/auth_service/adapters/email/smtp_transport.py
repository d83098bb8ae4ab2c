"""SMTP transport (`SmtpTransport`): sends emails over SMTP connections that it reuses."""

import contextlib
import re
import ssl
import threading
import time
from datetime import timedelta
from email.message import Message
from email.utils import parseaddr
from functools import lru_cache
from pathlib import Path

from auth_service import clock
from auth_service.adapters.email.smtp_connection import ConnectionLost, SmtpConnection
from auth_service.adapters.email.transport import MailDeferred, MailRefused
from auth_service.settings.smtp_url import SmtpUrl

# Narrower than RFC 5321: no quoted local part, no address literal, no SMTPUTF8. The API has rejected other addresses
# before; this second check prevents SMTP command injection and a second recipient.
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")


class SmtpTransport:
    """A `MailTransport` over SMTP, safe for concurrent threads: each email is sent on a connection of its own."""

    def __init__(
        self,
        url: str,
        *,
        ca_file: Path | None = None,
        timeout: timedelta = timedelta(seconds=45),
        step_timeout: timedelta = timedelta(seconds=10),
        connect_timeout: timedelta = timedelta(seconds=5),
        idle: timedelta = timedelta(seconds=10),
    ) -> None:
        """Open no connection before the first email. Raises ValueError if `SmtpUrl` cannot parse `url`.

        `ca_file` replaces the certificate authorities of the system. `timeout` limits a whole email including the
        connection, `step_timeout` each command with its reply, `connect_timeout` the connection to each IP address of
        the server. A connection that is unused for `idle` is closed.
        """
        self._url = SmtpUrl.parse(url)
        self._tls = _tls_context(ca_file)
        self._email_seconds = timeout.total_seconds()
        self._step_seconds = step_timeout.total_seconds()
        self._connect_seconds = connect_timeout.total_seconds()
        self._idle_seconds = idle.total_seconds()
        self._lock = threading.Lock()
        self._idle: list[SmtpConnection] = []
        self._sweeper: threading.Thread | None = None

    def send(self, message: Message, *, to: str) -> None:
        """Send `message` to `to`, from the address in its From header. Raises MailDeferred, MailRefused."""
        until = clock.monotonic() + self._email_seconds
        _, sender = parseaddr(str(message["From"]))
        if not ADDRESS.fullmatch(sender):
            raise MailDeferred(reason="the sender's address cannot be used")
        if not ADDRESS.fullmatch(to):
            raise MailRefused(reason="the recipient's address cannot be used")
        content = _as_data(message)
        connection = self._newest_idle()
        if connection is not None:
            # Servers close idle connections, which says nothing about the email: it is sent again on a new connection.
            with contextlib.suppress(ConnectionLost):
                self._deliver(connection, sender=sender, to=to, content=content, until=until)
                return
        self._deliver(self._open(until=until), sender=sender, to=to, content=content, until=until)

    def probe(self, *, sender: str) -> str:
        """Connect, encrypt, sign in and offer a sender without sending anything; return how the connection is secured.

        Raises MailDeferred, whose reason says which of these steps failed.
        """
        if not ADDRESS.fullmatch(sender):
            raise MailDeferred(reason="the sender's address cannot be used")
        connection = self._open(until=clock.monotonic() + self._email_seconds)
        try:
            connection.offer(sender)
            tls = connection.sock.version() if isinstance(connection.sock, ssl.SSLSocket) else None
        finally:
            connection.leave()
        return f"{tls or 'no TLS'}, {'signed in' if self._url.user else 'without sign-in'}"

    def close(self) -> None:
        """Close the idle connections. Emails that are being sent are not affected; the next one opens a connection."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.leave()

    def _open(self, *, until: float) -> SmtpConnection:
        connection = SmtpConnection(url=self._url, tls=self._tls, step_seconds=self._step_seconds)
        try:
            connection.open(until=until, connect_seconds=self._connect_seconds)
        finally:
            if not connection.usable:
                connection.close()
        return connection

    def _deliver(self, connection: SmtpConnection, *, sender: str, to: str, content: bytes, until: float) -> None:
        try:
            connection.deliver(sender=sender, to=to, content=content, until=until)
        finally:
            if connection.usable:
                self._keep(connection)
            else:
                connection.close()

    def _newest_idle(self) -> SmtpConnection | None:
        # The newest, so that surplus connections stay unused until `_sweep` closes them.
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: SmtpConnection) -> None:
        with self._lock:
            connection.idle_since = clock.monotonic()
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep, name="smtp-idle", daemon=True)
                self._sweeper.start()

    def _sweep(self) -> None:
        """Close idle connections. The thread ends with the last of them, so an unused transport has no thread."""
        while True:
            with self._lock:
                if not self._idle:
                    self._sweeper = None
                    return
                oldest = self._idle[0]
                remaining = oldest.idle_since + self._idle_seconds - clock.monotonic()
                if remaining <= 0:
                    del self._idle[0]
            if remaining > 0:
                time.sleep(remaining)
            else:
                oldest.leave()


@lru_cache
def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that verifies the certificate and name of the server. Cached: building it takes 40 ms."""
    return ssl.create_default_context(cafile=ca_file)


def _as_data(message: Message) -> bytes:
    """Return the content of DATA: lines end with CRLF, leading dots are doubled, a lone dot ends it (RFC 5321, 4.5.2).

    Bare CR and LF become CRLF, which prevents SMTP smuggling. The 7-bit encoding works without 8BITMIME (RFC 6152).
    """
    raw = message.as_bytes(policy=message.policy.clone(linesep="\r\n", cte_type="7bit"))
    lines = re.sub(rb"^\.", b"..", raw, flags=re.MULTILINE)
    return lines + (b".\r\n" if lines.endswith(b"\r\n") else b"\r\n.\r\n")
