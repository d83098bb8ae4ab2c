"""SMTP transport: transient and permanent rejections, and replies that break the protocol."""

import socket
import time
import traceback

import pytest

from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.transport import MailDeferred, MailRefused
from tests.support.smtp import TO, email, failure_of, server, transport_to
from tests.support.smtp_sink import SmtpSink
from tests.support.smtp_sink_message import Mode


@pytest.mark.parametrize("status", [450, 451, 452, 471])
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "letter"])
def test_a_transient_rejection_defers_the_email(
    sink: SmtpSink, transport: SmtpTransport, step: str, status: int
) -> None:
    sink.answers[step] = f"{status} 4.0.0 not now"

    failure = failure_of(transport)

    assert (type(failure), failure.status) == (MailDeferred, status)


@pytest.mark.parametrize("status", [501, 550, 552, 553, 554, 571])
@pytest.mark.parametrize("step", ["RCPT", "DATA", "letter"])
def test_a_permanent_rejection_of_recipient_or_email_rejects_it(
    sink: SmtpSink, transport: SmtpTransport, step: str, status: int
) -> None:
    sink.answers[step] = f"{status} 5.0.0 never"

    failure = failure_of(transport)

    assert (type(failure), failure.status) == (MailRefused, status)


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("greeting", "421 4.3.2 going down"),
        ("greeting", "554 5.7.1 we do not talk to you"),
        ("EHLO", "421 4.3.2 going down"),
        ("EHLO", "500 5.5.1 what?"),
        ("EHLO", "550 5.7.1 we do not talk to you"),
        ("MAIL", "421 4.3.2 going down"),
        ("MAIL", "530 5.7.0 sign in first"),
        ("MAIL", "550 5.7.1 this sender may not send here"),
        ("RCPT", "421 4.3.2 going down"),
        ("RCPT", "503 5.5.1 bad sequence"),
        ("RCPT", "530 5.7.0 start TLS first"),
        ("DATA", "421 4.3.2 going down"),
        ("DATA", "502 5.5.1 not implemented"),
        ("DATA", "250 as you like"),
        ("RCPT", "354 go on"),
        ("letter", "421 4.3.2 going down"),
        ("letter", "354 go on"),
    ],
)
def test_an_error_of_the_server_defers_the_email(
    sink: SmtpSink, transport: SmtpTransport, step: str, answer: str
) -> None:
    sink.answers[step] = answer

    failure = failure_of(transport)
    sink.answers.clear()
    transport.send(email(), to=TO)

    assert isinstance(failure, MailDeferred)
    assert failure.status == int(answer[:3])
    assert len(sink.messages) == 1


@pytest.mark.parametrize("answer", ["hello", "2500 what", "999 what", "099 what", "25", "", "2٥0 what"])
def test_a_reply_that_is_not_smtp_defers_the_email(sink: SmtpSink, transport: SmtpTransport, answer: str) -> None:
    sink.answers["RCPT"] = answer

    failure = failure_of(transport)

    assert isinstance(failure, MailDeferred)
    assert failure.status is None


@pytest.mark.parametrize("chatter", [b"250-more\r\n", b"2" * 10_000])
def test_an_endless_reply_is_not_read_to_the_end(chatter: bytes) -> None:
    sent = 0

    def talk(client: socket.socket) -> None:
        nonlocal sent
        client.sendall(b"220 hello\r\n")
        client.recv(100)
        while True:
            sent += client.send(chatter)

    with server(talk) as port, transport_to(f"smtp://127.0.0.1:{port}", timeout=30) as transport:
        begun = time.monotonic()
        assert isinstance(failure_of(transport), MailDeferred)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("mode", ["4xx", "5xx"])
def test_a_rejected_email_keeps_the_connection(sink: SmtpSink, transport: SmtpTransport, mode: Mode) -> None:
    sink.modes["eve@example.org"] = mode

    failure_of(transport, to="eve@example.org")
    transport.send(email(), to=TO)
    failure_of(transport, to="eve@example.org")
    transport.send(email(), to=TO)

    assert [(delivered.talk, delivered.recipients) for delivered in sink.messages] == [(1, (TO,)), (1, (TO,))]


def test_a_connection_whose_reset_fails_is_replaced(sink: SmtpSink, transport: SmtpTransport) -> None:
    sink.modes["eve@example.org"] = "5xx"
    failure_of(transport, to="eve@example.org")
    sink.answers["RSET"] = "502 5.5.1 not implemented"

    transport.send(email(), to=TO)

    assert [delivered.talk for delivered in sink.messages] == [2]


@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "letter"])
@pytest.mark.parametrize("status", [421, 451, 550])
def test_failures_contain_neither_sent_data_nor_replies(
    sink: SmtpSink, transport: SmtpTransport, step: str, status: int
) -> None:
    sink.answers[step] = f"{status} <{TO}> 7505 s3cret"

    failure = failure_of(transport, email("7505\n"))
    described = "".join(traceback.format_exception_only(failure)) + repr(failure) + repr(vars(failure))

    assert failure.__cause__ is None
    assert failure.__suppress_context__ or failure.__context__ is None
    assert not any(secret in described for secret in (TO, "example", "7505", "s3cret"))
    assert str(status) in described
