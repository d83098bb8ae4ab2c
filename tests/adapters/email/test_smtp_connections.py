"""SMTP transport: connections are kept, shared by threads one after the other, replaced and closed."""

import smtplib
import socket
import struct
import threading
from datetime import timedelta

import pytest

from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.transport import MailDeferred
from tests.support.smtp import (
    TO,
    email,
    failure_of,
    send_replies,
    server,
    transport_to,
    wait_until,
)
from tests.support.smtp_sink import SmtpSink


def test_smtplib_writes_and_reads_through_the_methods_that_we_override() -> None:
    """`SMTP.send`, `getreply`, `putcmd` and `esmtp_features` are not in Python's documentation (decision 16)."""
    calls: list[object] = []

    class Recorder(smtplib.SMTP):
        def send(self, s: object) -> None:
            calls.append(s)

        def getreply(self) -> tuple[int, bytes]:
            calls.append("getreply")
            return 250, b"sink\nSTARTTLS\nAUTH PLAIN LOGIN"

    client = Recorder(local_hostname="here")
    client.ehlo()
    client.docmd("RSET")
    client.putcmd("QUIT")

    assert calls == ["ehlo here\r\n", "getreply", "RSET\r\n", "getreply", "QUIT\r\n"]
    assert client.has_extn("starttls")
    assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
    with pytest.raises(ValueError, match="newline"):
        client.docmd("RCPT", "TO:<ada@example.org>\r\nDATA")


def test_emails_share_a_connection_without_commands_between_them(sink: SmtpSink, transport: SmtpTransport) -> None:
    for _ in range(3):
        transport.send(email(), to=TO)

    assert {delivered.talk for delivered in sink.messages} == {1}
    verbs = [command.split(":")[0].split(" ")[0] for command in sink.commands]
    assert verbs == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3]


def test_threads_share_a_transport_but_not_a_connection(sink: SmtpSink, transport: SmtpTransport) -> None:
    def send(thread: int) -> None:
        for number in range(25):
            transport.send(email(f"{thread}.{number}\n"), to=TO)

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    texts = [delivered.message.get_content().strip() for delivered in sink.messages]
    assert sorted(texts) == sorted(f"{thread}.{number}" for thread in range(4) for number in range(25))
    assert sink.talks_begun <= 4


def test_a_closed_connection_is_replaced_immediately(sink: SmtpSink, transport: SmtpTransport) -> None:
    transport.send(email(), to=TO)
    sink.hang_up()
    transport.send(email(), to=TO)

    assert [delivered.talk for delivered in sink.messages] == [1, 2]


def test_a_connection_closed_by_a_421_is_replaced(sink: SmtpSink, transport: SmtpTransport) -> None:
    class Once(dict[str, str]):
        def __getitem__(self, step: str) -> str:
            return self.pop(step)

    transport.send(email(), to=TO)
    sink.answers = Once(MAIL="421 4.7.0 too many letters on this connection")
    transport.send(email(), to=TO)

    assert [delivered.talk for delivered in sink.messages] == [1, 2]


def test_replies_ahead_of_their_command_are_a_failure() -> None:
    heard: list[bytes] = []

    def early(client: socket.socket) -> None:
        client.sendall(b"220 hello\r\n250 EHLO, MAIL, RCPT: all is well\r\n250 really\r\n")
        while data := client.recv(4096):
            heard.append(data)

    with server(early) as port, transport_to(f"smtp://127.0.0.1:{port}", timeout=2) as transport:
        assert isinstance(failure_of(transport), MailDeferred)

    assert heard == []


def test_a_refused_email_does_not_count_as_sent_when_the_server_sends_one_reply_too_many() -> None:
    """Response desynchronisation: `smtplib.sendmail` and `aiosmtplib` report this email as accepted (decision 16)."""

    def talk(client: socket.socket) -> None:
        send_replies(client, "220 hello", "250 hello", "250 OK", "250 OK", "354 go on\r\n250 accepted", "550 refused")

    with server(talk) as port, transport_to(f"smtp://127.0.0.1:{port}", timeout=2) as transport:
        assert isinstance(failure_of(transport), MailDeferred)


def test_an_idle_connection_is_closed_with_quit(sink: SmtpSink) -> None:
    with transport_to(sink.url, idle=timedelta(seconds=0.1)) as transport:
        transport.send(email(), to=TO)
        assert len(sink.talks) == 1

        wait_until(lambda: not sink.talks)
        assert sink.commands[-1] == "QUIT"

        transport.send(email(), to=TO)
        assert [delivered.talk for delivered in sink.messages] == [1, 2]
        wait_until(lambda: not sink.talks)


def test_surplus_connections_are_closed(sink: SmtpSink) -> None:
    sink.modes["slow@example.org"] = "tarpit"
    sink.drip = 0.001
    with transport_to(sink.url, idle=timedelta(seconds=0.3)) as transport:
        slow = threading.Thread(target=transport.send, args=(email(),), kwargs={"to": "slow@example.org"})
        slow.start()
        wait_until(lambda: bool(sink.recipients))
        transport.send(email(), to=TO)
        slow.join()

        def one_connection_is_left() -> bool:
            transport.send(email(), to=TO)
            return len(sink.talks) == 1

        wait_until(one_connection_is_left)
        assert sink.talks_begun == 2


def test_a_closed_transport_has_sent_quit(sink: SmtpSink, transport: SmtpTransport) -> None:
    transport.send(email(), to=TO)
    transport.close()

    wait_until(lambda: not sink.talks)
    assert sink.commands[-1] == "QUIT"


def test_closing_a_transport_whose_server_has_stopped_is_no_error() -> None:
    delivered, disconnected = threading.Event(), threading.Event()

    def talk(client: socket.socket) -> None:
        send_replies(client, "220 hello", "250 hello", "250 OK", "250 OK", "354 go on", "250 taken")
        delivered.wait(5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        disconnected.set()

    with server(talk) as port, transport_to(f"smtp://127.0.0.1:{port}") as transport:
        transport.send(email(), to=TO)
        delivered.set()
        disconnected.wait(5)
        transport.close()
        transport.close()
