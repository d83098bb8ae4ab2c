"""One conversation with an SMTP server, every step of it held to a deadline."""

import base64
import re
import smtplib
import socket
import ssl
from math import inf

from auth_service import clock
from auth_service.adapters.email.smtp_url import HOST, SmtpUrl, is_loopback
from auth_service.adapters.email.transport import MailDeferred, MailFailure, MailRefused

# Replies by their meaning (RFC 5321, 4.2.3; RFC 4954).
READY, SIGNED_IN, DONE, GO_ON, SEND_LETTER, HANGING_UP = 220, 235, 250, 334, 354, 421
# Their first digit alone.
POSITIVE, TRANSIENT, PERMANENT = 2, 4, 5

# Bounds of one reply, in bytes and lines: RFC 5321 has 512 bytes a line, and no server needs a hundred lines.
LONGEST_LINE = 8192
LONGEST_REPLY = 100

# Whichever command they answer, these speak of the connection, of our credentials or of what the server can do, never
# of the letter: it may be right tomorrow what an operator misconfigured today.
ABOUT_THE_SERVER = {HANGING_UP, 500, 502, 503, 504, 530, 534, 535, 538}


class ConnectionLost(MailDeferred):
    """The connection is of no use, and the letter was certainly not taken: another connection may try at once."""


class SmtpConnection(smtplib.SMTP):
    """One connection to the server, every step of which is held to the deadline of the letter it works for.

    The timeout of smtplib starts anew with every byte that arrives, so a server that sends one byte a second could hold
    a letter for hours. Here each send and each receive gets only what is left of the letter's time; that needs no
    second thread as a watchdog. What cannot be cut short is the look-up of the server's name; resolv.conf limits it.
    """

    def __init__(self, *, url: SmtpUrl, tls: ssl.SSLContext) -> None:
        """Nothing is sent before `open`."""
        # A name is given, since smtplib would ask the name server for one; `open` puts the right one in its place.
        super().__init__(local_hostname="localhost")
        self.usable = False
        """Whether the connection may carry another letter."""
        self.kept_at = 0.0
        """When it was last put aside, in monotonic seconds."""
        self._url = url
        self._tls = tls
        self._until = 0.0
        self._received = b""
        self._unfinished = False

    def open(self, *, until: float, connect_seconds: float) -> None:
        """Connect, greet, encrypt and sign in before `until` (monotonic seconds). Raises ConnectionLost."""
        self._until = until
        try:
            self._connect(connect_seconds)
            if self._url.scheme == "smtps":
                self._encrypt()
            self._want(READY, self.getreply(), "the server does not greet")
            self._want(DONE, self.ehlo(), "the server does not take EHLO")
            if self._url.scheme == "smtp+starttls":
                self._start_tls()
            if self._url.user is not None:
                self._sign_in(self._url.user, self._url.password or "")
        except OSError as error:
            raise ConnectionLost(reason=_reason(error)) from None
        self.usable = True

    def deliver(self, *, sender: str, to: str, body: bytes, until: float) -> None:
        """Hand one letter over before `until`; `body` has its dots doubled and ends with a lone one.

        Raises ConnectionLost, MailDeferred, MailRefused.
        """
        self._until = until
        self.usable = False
        body_sent = False
        try:
            if self._unfinished:
                self._want(DONE, self.docmd("RSET"), "the server does not take RSET")
                self._unfinished = False
            status, _ = self.docmd("MAIL", f"FROM:<{sender}>")
            if not _taken(status):
                # The sender is the same for all letters: a server that does not want it is misconfigured, or we are.
                raise self._failure(status, reason="sender not accepted", for_good=MailDeferred)
            status, _ = self.docmd("RCPT", f"TO:<{to}>")
            if not _taken(status):
                raise self._failure(status, reason="recipient not accepted", for_good=MailRefused)
            status, _ = self.docmd("DATA")
            if status != SEND_LETTER:
                raise self._failure(status, reason="letter not accepted", for_good=MailRefused)
            body_sent = True
            self.send(body)
            status, _ = self.getreply()
            if not _taken(status):
                raise self._failure(status, reason="letter not accepted", for_good=MailRefused)
        except OSError as error:
            if body_sent:
                raise MailDeferred(reason=f"the answer to the letter got lost: {_reason(error)}") from None
            raise ConnectionLost(reason=_reason(error)) from None
        self.usable = True

    def leave(self) -> None:
        """Say goodbye without waiting for the answer, and close."""
        try:
            self._until = clock.monotonic() + 1
            self.putcmd("QUIT")
        except OSError:
            pass  # It was gone already.
        finally:
            self.close()

    def send(self, s: bytes | str) -> None:  # type: ignore[override]  # smtplib itself only sends these two
        """Send all of it before the deadline. Raises OSError."""
        if self._received:
            # Whoever answers before being asked is out of step: its next "250" would be taken for that of another
            # command. Said in the clear before TLS, it would count as said under TLS (CVE-2011-0411).
            raise smtplib.SMTPServerDisconnected("spoke out of turn")
        data = memoryview(s.encode("ascii") if isinstance(s, str) else s)
        while data:
            data = data[self._socket().send(data) :]

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply before the deadline: its status and its lines. Raises OSError, also for what is no SMTP."""
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

    def _socket(self, *, at_most: float = inf) -> socket.socket:
        """The socket, allowed to block for what is left of the time. Raises OSError."""
        left = self._until - clock.monotonic()
        if self.sock is None or left <= 0:
            raise TimeoutError("no connection, or no time left")
        self.sock.settimeout(min(left, at_most))
        return self.sock

    def _connect(self, connect_seconds: float) -> None:
        failure: OSError = TimeoutError()
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self._url.host, self._url.port, type=socket.SOCK_STREAM
        ):
            self.sock = socket.socket(family, kind, protocol)
            try:
                self._socket(at_most=connect_seconds).connect(address)
            except OSError as error:
                self.close()
                failure = error
                continue
            # The end of a letter must not wait until the server has acknowledged its beginning (Nagle).
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.local_hostname = _own_name(self.sock)
            return
        raise failure

    def _encrypt(self) -> None:
        self.sock = self._tls.wrap_socket(self._socket(), server_hostname=self._url.host)

    def _start_tls(self) -> None:
        if not self.has_extn("starttls"):
            raise ConnectionLost(reason="the server offers no STARTTLS")
        self._want(READY, self.docmd("STARTTLS"), "the server does not take STARTTLS")
        self._encrypt()
        self._want(DONE, self.ehlo(), "the server does not take EHLO")

    def _sign_in(self, user: str, password: str) -> None:
        sock = self._socket()
        if not isinstance(sock, ssl.SSLSocket) and not is_loopback(sock.getpeername()[0]):
            raise ConnectionLost(reason="no credentials without TLS")
        offered = self.esmtp_features.get("auth", "").upper().split()
        if "PLAIN" in offered:
            answer = self.docmd("AUTH", "PLAIN " + _base64(f"\0{user}\0{password}"))
        elif "LOGIN" in offered:
            self._want(GO_ON, self.docmd("AUTH", "LOGIN"), "the server does not take AUTH")
            self._want(GO_ON, self.docmd(_base64(user)), "the server does not take the user")
            answer = self.docmd(_base64(password))
        else:
            raise ConnectionLost(reason="the server offers neither AUTH PLAIN nor AUTH LOGIN")
        self._want(SIGNED_IN, answer, "the server does not take the credentials")

    @staticmethod
    def _want(status: int, answer: tuple[int, bytes], otherwise: str) -> None:
        if answer[0] != status:
            raise ConnectionLost(reason=otherwise, status=answer[0])

    def _failure(self, status: int, *, reason: str, for_good: type[MailFailure]) -> MailFailure:
        """What an answer other than the expected one means; `for_good` is what a permanent one is here."""
        if status == HANGING_UP:
            return ConnectionLost(reason="the server hung up", status=status)
        if status // 100 < TRANSIENT:
            return MailDeferred(reason="the server answered something else", status=status)
        self.usable = self._unfinished = True
        if status // 100 == PERMANENT and status not in ABOUT_THE_SERVER:
            return for_good(reason=reason, status=status)
        return MailDeferred(reason=reason, status=status)


def _taken(status: int) -> bool:
    return status // 100 == POSITIVE


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _own_name(sock: socket.socket) -> str:
    """What to say in EHLO: this machine's full name, or an address literal (RFC 5321, 4.1.4) where it has none."""
    name = socket.gethostname()
    if "." in name and HOST.fullmatch(name):
        return name
    address: str = sock.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _reason(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "the server's certificate is not to be trusted"
        case ssl.SSLError():
            return "TLS failed"
        case socket.gaierror():
            return "the server's name is not known"
        case TimeoutError():
            return "the server took too long"
        case ConnectionRefusedError():
            return "the server refused the connection"
    return "the server dropped the connection"
