"""SMTP client connection: `smtplib` with deadlines, one time limit for each step and one for the whole email.

docs/decisions/0016-smtp-library.md explains why `sendmail` of the standard library is not enough.
"""

import base64
import re
import smtplib
import socket
import ssl
from math import inf

from auth_service import clock
from auth_service.adapters.email.transport import MailDeferred, MailFailure, MailRefused, TimeLimit
from auth_service.settings.smtp_url import HOST, SmtpUrl, is_loopback

# Reply codes (RFC 5321, 4.2.3; RFC 4954).
READY, AUTHENTICATED, COMPLETED, AUTH_CONTINUES, START_INPUT, SHUTTING_DOWN = 220, 235, 250, 334, 354, 421
# The first digit of a reply code.
POSITIVE, TRANSIENT, PERMANENT = 2, 4, 5

# Bounds of one reply, in bytes of a line and in lines. RFC 5321 (4.5.3.1.5) allows 512 bytes for each line.
LONGEST_LINE = 8192
LONGEST_REPLY = 100

# After any command these codes concern the connection, the credentials or the features of the server, never the email.
# The email is deferred, because an operator can correct the configuration before the next attempt.
ABOUT_THE_SERVER = {SHUTTING_DOWN, 500, 502, 503, 504, 530, 534, 535, 538}


class ConnectionLost(MailDeferred):
    """The connection failed before the server could accept the email: it can be sent again immediately."""


class SmtpConnection(smtplib.SMTP):
    """One connection to the server; every read and write has a deadline.

    The timeout of smtplib starts again with every byte that arrives: a tarpit, which sends one byte a second, could
    block a thread of the mail worker for hours. Here each read and write gets only the time that is left of its step
    and of its email. Only the DNS query for the name of the server cannot be interrupted; resolv.conf limits it.
    """

    def __init__(self, *, url: SmtpUrl, tls: ssl.SSLContext, step_seconds: float) -> None:
        """`open` connects. A step is a command with its reply, a TLS handshake, or sending the content."""
        # Without `local_hostname` smtplib would query DNS for the name; `open` sets the final one.
        super().__init__(local_hostname="localhost")
        self.usable = False
        """Whether the connection can carry another email."""
        self.idle_since = 0.0
        """When the connection was last used, in monotonic seconds."""
        self._url = url
        self._tls = tls
        self._step_seconds = step_seconds
        self._until = self._step_until = 0.0
        self._received = b""
        self._needs_reset = False

    def open(self, *, until: float, connect_seconds: float) -> None:
        """Connect, read the greeting, encrypt and sign in before `until` (monotonic seconds). Raises ConnectionLost."""
        self._until = until
        try:
            self._connect(connect_seconds)
            if self._url.scheme == "smtps":
                self._encrypt()
            self._begin_step()
            self._expect(READY, self.getreply(), otherwise="the server does not greet")
            self._expect(COMPLETED, self.ehlo(), otherwise="the server does not accept EHLO")
            if self._url.scheme == "smtp+starttls":
                self._start_tls()
            if self._url.user is not None:
                self._authenticate(self._url.user, self._url.password or "")
        except OSError as error:
            raise ConnectionLost(reason=_reason(error), timeout=self._exceeded(error)) from None
        self.usable = True

    def deliver(self, *, sender: str, to: str, content: bytes, until: float) -> None:
        """Send one email before `until` (monotonic seconds); `content` is what follows DATA, with its final lone dot.

        Raises ConnectionLost, MailDeferred, MailRefused.
        """
        self._until = until
        self.usable = False
        content_sent = False
        try:
            if self._needs_reset:
                self._expect(COMPLETED, self.docmd("RSET"), otherwise="the server does not accept RSET")
                self._needs_reset = False
            status, _ = self.docmd("MAIL", f"FROM:<{sender}>")
            if not _is_positive(status):
                # All emails have the same sender. If the server rejects it, the configuration is wrong, not the email.
                raise self._failure(status, reason="sender not accepted", permanent=MailDeferred)
            status, _ = self.docmd("RCPT", f"TO:<{to}>")
            if not _is_positive(status):
                raise self._failure(status, reason="recipient not accepted", permanent=MailRefused)
            status, _ = self.docmd("DATA")
            if status != START_INPUT:
                raise self._failure(status, reason="email not accepted", permanent=MailRefused)
            content_sent = True
            self.send(content)
            status, _ = self.getreply()
            if not _is_positive(status):
                raise self._failure(status, reason="email not accepted", permanent=MailRefused)
        except OSError as error:
            if content_sent:
                raise MailDeferred(
                    reason=f"the reply to the email was lost: {_reason(error)}", timeout=self._exceeded(error)
                ) from None
            raise ConnectionLost(reason=_reason(error), timeout=self._exceeded(error)) from None
        self.usable = True

    def offer(self, sender: str) -> None:
        """Check that the server accepts a sender: begin an email and cancel it. Raises MailDeferred."""
        try:
            status, _ = self.docmd("MAIL", f"FROM:<{sender}>")
            if not _is_positive(status):
                raise self._failure(status, reason="sender not accepted", permanent=MailDeferred)
            self.docmd("RSET")
        except OSError as error:
            raise ConnectionLost(reason=_reason(error), timeout=self._exceeded(error)) from None

    def leave(self) -> None:
        """Send QUIT without waiting for its reply, and close."""
        try:
            self._until = clock.monotonic() + 1
            self.putcmd("QUIT")
        except OSError:
            pass  # The server has closed the connection already.
        finally:
            self.close()

    def send(self, s: bytes | str) -> None:  # type: ignore[override]  # smtplib itself sends only these two types
        """Begin a step and send all of `s` before its deadline. Raises OSError. Overrides the method of smtplib."""
        if self._received:
            # An unrequested reply would be read as the reply to the next command: a rejected email could count as sent.
            # A reply in plaintext before the TLS handshake would count as received under TLS (CVE-2011-0411).
            raise smtplib.SMTPServerDisconnected("unrequested reply")
        self._begin_step()
        data = memoryview(s.encode("ascii") if isinstance(s, str) else s)
        while data:
            data = data[self._socket().send(data) :]

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply before the deadline: status and text. Raises OSError. Overrides the method of smtplib."""
        lines: list[bytes] = []
        while len(lines) < LONGEST_REPLY:
            line = self._line()
            lines.append(line[4:])
            if line[3:4] != b"-":
                if not re.match(rb"[2-5][0-9][0-9](?![0-9])", line):
                    break
                return int(line[:3]), b"\n".join(lines)
        raise smtplib.SMTPServerDisconnected("this is not SMTP")

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            if len(self._received) > LONGEST_LINE:
                raise smtplib.SMTPServerDisconnected("line too long")
            chunk = self._socket().recv(4096)
            if not chunk:
                raise smtplib.SMTPServerDisconnected("end of file")
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line.rstrip(b"\r")

    def _begin_step(self) -> None:
        self._step_until = min(clock.monotonic() + self._step_seconds, self._until)

    def _exceeded(self, error: OSError) -> TimeLimit | None:
        """Return which time limit was exceeded, if that is the error."""
        if not isinstance(error, TimeoutError):
            return None
        return "email" if clock.monotonic() >= self._until else "step"

    def _socket(self) -> socket.socket:
        """Return the socket, with the time that is left of the step as its timeout. Raises OSError."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("not connected")
        self.sock.settimeout(_seconds_until(self._step_until))
        return self.sock

    def _connect(self, connect_seconds: float) -> None:
        failure: OSError = TimeoutError()
        for *_, address in socket.getaddrinfo(self._url.host, self._url.port, type=socket.SOCK_STREAM):
            try:
                timeout = _seconds_until(self._until, at_most=connect_seconds)
                self.sock = socket.create_connection((str(address[0]), address[1]), timeout=timeout)
            except OSError as error:
                failure = error
                continue
            # Nagle's algorithm would delay the last segment of an email until the server has acknowledged the others.
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.local_hostname = _own_name(self.sock)
            return
        raise failure

    def _encrypt(self) -> None:
        self._begin_step()
        self.sock = self._tls.wrap_socket(self._socket(), server_hostname=self._url.host)

    def _start_tls(self) -> None:
        if not self.has_extn("starttls"):
            raise ConnectionLost(reason="the server offers no STARTTLS")
        self._expect(READY, self.docmd("STARTTLS"), otherwise="the server does not accept STARTTLS")
        self._encrypt()
        self._expect(COMPLETED, self.ehlo(), otherwise="the server does not accept EHLO")

    def _authenticate(self, user: str, password: str) -> None:
        # Not with `login` of smtplib: it raises UnicodeEncodeError for a password with characters outside ASCII.
        sock = self._socket()
        if not isinstance(sock, ssl.SSLSocket) and not is_loopback(sock.getpeername()[0]):
            raise ConnectionLost(reason="no credentials without TLS")
        offered = self.esmtp_features.get("auth", "").upper().split()
        if "PLAIN" in offered:
            reply = self.docmd("AUTH", "PLAIN " + _base64(f"\0{user}\0{password}"))
        elif "LOGIN" in offered:
            self._expect(AUTH_CONTINUES, self.docmd("AUTH", "LOGIN"), otherwise="the server does not accept AUTH")
            self._expect(AUTH_CONTINUES, self.docmd(_base64(user)), otherwise="the server does not accept the user")
            reply = self.docmd(_base64(password))
        else:
            raise ConnectionLost(reason="the server offers neither AUTH PLAIN nor AUTH LOGIN")
        self._expect(AUTHENTICATED, reply, otherwise="the server does not accept the credentials")

    @staticmethod
    def _expect(status: int, reply: tuple[int, bytes], *, otherwise: str) -> None:
        if reply[0] != status:
            raise ConnectionLost(reason=otherwise, status=reply[0])

    def _failure(self, status: int, *, reason: str, permanent: type[MailFailure]) -> MailFailure:
        """Return the error for an unexpected reply; `permanent` is its class if the status is permanent (5xx)."""
        if status == SHUTTING_DOWN:
            return ConnectionLost(reason="the server is shutting down", status=status)
        if status // 100 < TRANSIENT:
            return MailDeferred(reason="the server sent an unexpected reply", status=status)
        self.usable = self._needs_reset = True
        if status // 100 == PERMANENT and status not in ABOUT_THE_SERVER:
            return permanent(reason=reason, status=status)
        return MailDeferred(reason=reason, status=status)


def _seconds_until(deadline: float, *, at_most: float = inf) -> float:
    """Return the timeout of one system call. Raises TimeoutError after the deadline."""
    remaining = deadline - clock.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return min(remaining, at_most)


def _is_positive(status: int) -> bool:
    return status // 100 == POSITIVE


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _own_name(sock: socket.socket) -> str:
    """Return the name for EHLO: the full name of this machine, else an address literal (RFC 5321, 4.1.4)."""
    name = socket.gethostname()
    if "." in name and HOST.fullmatch(name):
        return name
    address: str = sock.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _reason(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "the server's certificate is not trusted"
        case ssl.SSLError():
            return "TLS failed"
        case socket.gaierror():
            return "the server's name is unknown"
        case TimeoutError():
            return "the server took too long"
        case ConnectionRefusedError():
            return "the server refused the connection"
    return "the server dropped the connection"
