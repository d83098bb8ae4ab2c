"""SMTP transport: TLS before credentials and emails, checked certificates, rejected credentials."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from auth_service.adapters.email.transport import MailDeferred
from tests.support.smtp import (
    PASSWORD,
    QUOTED_PASSWORD,
    TO,
    email,
    failure_of,
    large_email,
    send_replies,
    server,
    server_side,
    transport_to,
)
from tests.support.smtp_sink import SmtpSink


def test_starttls_encrypts_before_credentials_and_emails_are_sent(trusted: Path) -> None:
    with (
        SmtpSink(starttls=server_side(trusted), users={"portal": PASSWORD}) as sink,
        transport_to(f"smtp+starttls://portal:{QUOTED_PASSWORD}@localhost:{sink.port}", ca_file=trusted) as transport,
    ):
        transport.send(email(), to=TO)
        transport.send(email(), to=TO)

    assert [(delivered.encrypted, delivered.user) for delivered in sink.messages] == [(True, "portal")] * 2
    assert sink.sign_ins == [("portal", PASSWORD, True)]
    assert [command.split()[0] for command in sink.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_smtps_encrypts_from_the_first_byte(trusted: Path) -> None:
    with (
        SmtpSink(tls=server_side(trusted), users={"portal": PASSWORD}) as sink,
        transport_to(
            f"smtps://portal:{QUOTED_PASSWORD}@127.0.0.1:{sink.port}", ca_file=trusted, timeout=60
        ) as transport,
    ):
        transport.send(large_email(), to=TO)
        transport.send(email(), to=TO)

    assert [(delivered.encrypted, delivered.user, delivered.talk) for delivered in sink.messages] == [
        (True, "portal", 1)
    ] * 2
    assert sink.sign_ins == [("portal", PASSWORD, True)]


def test_without_an_offer_of_starttls_nothing_is_sent(sink: SmtpSink, trusted: Path) -> None:
    sink.users = {"u": "s3cret"}
    with transport_to(f"smtp+starttls://u:s3cret@127.0.0.1:{sink.port}", ca_file=trusted) as transport:
        assert str(failure_of(transport)) == "the server offers no STARTTLS"

    assert sink.commands == ["EHLO [127.0.0.1]"] or sink.commands[0].startswith("EHLO ")
    assert len(sink.commands) == 1
    assert sink.sign_ins == []


def test_a_rejected_starttls_defers_the_email(trusted: Path) -> None:
    with (
        SmtpSink(starttls=server_side(trusted)) as sink,
        transport_to(f"smtp+starttls://127.0.0.1:{sink.port}", ca_file=trusted) as transport,
    ):
        sink.answers["STARTTLS"] = "454 4.7.0 not now"
        failure = failure_of(transport)

    assert (type(failure).__mro__[1], failure.status) == (MailDeferred, 454)
    assert sink.messages == []


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
@pytest.mark.parametrize("flaw", ["an unknown authority", "another name"])
def test_a_certificate_is_checked(scheme: str, flaw: str, trusted: Path, elsewhere: Path) -> None:
    context = server_side(elsewhere)
    tls: dict[str, Any] = {"tls": context} if scheme == "smtps" else {"starttls": context}
    authorities = trusted if flaw == "an unknown authority" else elsewhere
    with (
        SmtpSink(users={"u": "s3cret"}, **tls) as sink,
        transport_to(f"{scheme}://u:s3cret@127.0.0.1:{sink.port}", ca_file=authorities) as transport,
    ):
        failure = failure_of(transport)

    assert isinstance(failure, MailDeferred)
    assert str(failure) == "the server's certificate is not trusted"
    assert sink.sign_ins == []


def test_without_a_tls_context_the_certificate_authorities_of_the_system_are_used(trusted: Path) -> None:
    with SmtpSink(tls=server_side(trusted)) as sink, transport_to(f"smtps://127.0.0.1:{sink.port}") as transport:
        assert str(failure_of(transport)) == "the server's certificate is not trusted"


def test_replies_from_before_tls_are_discarded(trusted: Path) -> None:
    """STARTTLS response injection: an attacker appends replies to the last plaintext one (CVE-2011-0411)."""
    heard: list[bytes] = []

    def talk(client: socket.socket) -> None:
        send_replies(client, "220 hello", "250-hello\r\n250 STARTTLS", "220 go on\r\n250-hello\r\n250 AUTH PLAIN")
        with server_side(trusted).wrap_socket(client, server_side=True) as encrypted:
            while data := encrypted.recv(4096):
                heard.append(data)

    with (
        server(talk) as port,
        transport_to(f"smtp+starttls://u:s3cret@127.0.0.1:{port}", ca_file=trusted, timeout=2) as transport,
    ):
        assert isinstance(failure_of(transport), MailDeferred)

    assert heard == []


def test_an_endless_tls_handshake_delays_an_email_no_longer_than_the_timeout(trusted: Path) -> None:
    def talk(client: socket.socket) -> None:
        for byte in b"\x16\x03\x03\x40\x00" + b"\x00" * 100:
            client.sendall(bytes([byte]))
            time.sleep(0.1)

    with server(talk) as port, transport_to(f"smtps://127.0.0.1:{port}", ca_file=trusted, timeout=0.6) as transport:
        begun = time.monotonic()
        assert isinstance(failure_of(transport), MailDeferred)
        assert time.monotonic() - begun < 1.2


def test_a_server_without_tls_defers_the_email(sink: SmtpSink, trusted: Path) -> None:
    with transport_to(f"smtps://127.0.0.1:{sink.port}", ca_file=trusted, timeout=2) as transport:
        assert str(failure_of(transport)) == "TLS failed"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_credentials_are_sent_without_tls_to_a_loopback_server(mechanism: str) -> None:
    with (
        SmtpSink(users={"portal": PASSWORD}, mechanisms=(mechanism,)) as sink,
        transport_to(f"smtp://portal:{QUOTED_PASSWORD}@127.0.0.1:{sink.port}") as transport,
    ):
        transport.send(email(), to=TO)

    assert [delivered.user for delivered in sink.messages] == ["portal"]
    assert sink.sign_ins == [("portal", PASSWORD, False)]


def test_no_credentials_are_sent_without_tls_to_a_loopback_name_with_another_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        here = probe.getsockname()[0]
    heard: list[bytes] = []

    with socket.create_server((here, 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            client, _ = listener.accept()
            with client, suppress(OSError):
                send_replies(client, "220 hello", "250-hello\r\n250 AUTH PLAIN LOGIN")
                heard.append(client.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (here, port))]
        )
        with transport_to(f"smtp://u:s3cret@localhost:{port}", timeout=2) as transport:
            assert str(failure_of(transport)) == "no credentials without TLS"
        thread.join(5)

    assert heard == [b""]


@pytest.mark.parametrize(
    ("answers", "mechanisms", "status"),
    [
        ({}, ("PLAIN",), 535),
        ({}, ("LOGIN",), 535),
        ({"AUTH": "454 4.7.0 not now"}, ("PLAIN",), 454),
        ({"AUTH": "421 4.7.0 too often"}, ("LOGIN",), 421),
        ({}, (), None),
    ],
)
def test_rejected_credentials_defer_the_email_and_are_not_repeated(
    answers: dict[str, str], mechanisms: tuple[str, ...], status: int | None
) -> None:
    with (
        SmtpSink(users={"portal": "other"}, mechanisms=mechanisms) as sink,
        transport_to(f"smtp://portal:s3cret@127.0.0.1:{sink.port}") as transport,
    ):
        sink.answers.update(answers)
        failure = failure_of(transport)

    assert isinstance(failure, MailDeferred)
    assert failure.status == status
    assert "s3cret" not in repr(failure)
    assert "portal" not in repr(failure)
    assert sink.messages == []
