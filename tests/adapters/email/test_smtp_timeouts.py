"""SMTP transport: servers that refuse connections, disconnect or stall delay no email beyond the time limit."""

import socket
import threading
import time
from datetime import timedelta

import pytest

from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.transport import MailDeferred
from tests.support.smtp import (
    TO,
    email,
    failure_of,
    failure_or_none,
    large_email,
    send_replies,
    server,
    transport_to,
    wait_until,
)
from tests.support.smtp_sink import SmtpSink


def test_a_refused_connection_defers_the_email(sink: SmtpSink, transport: SmtpTransport) -> None:
    sink.mode = "refuse"
    assert isinstance(failure_of(transport), MailDeferred)

    sink.mode = "normal"
    transport.send(email(), to=TO)
    assert len(sink.messages) == 1


def test_an_unknown_host_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with transport_to("smtp://mail.invalid") as transport:
        assert str(failure_of(transport)) == "the server's name is unknown"


def test_the_next_address_of_a_server_is_tried(sink: SmtpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    with SmtpSink() as stopped:
        closed = stopped.port
    known = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (closed, sink.port)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
    with transport_to("smtp://localhost") as transport:
        transport.send(email(), to=TO)

    assert len(sink.messages) == 1


@pytest.mark.parametrize(
    ("name", "greeting"),
    [("mail.example.org", "mail.example.org"), ("laptop", "[127.0.0.1]"), ("my mac.local", "[127.0.0.1]")],
)
def test_ehlo_has_the_full_host_name_or_the_address(
    sink: SmtpSink, transport: SmtpTransport, monkeypatch: pytest.MonkeyPatch, name: str, greeting: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    transport.send(email(), to=TO)

    assert sink.commands[0] == f"EHLO {greeting}"


def test_a_connection_attempt_ends_after_the_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        queued = []
        for _ in range(3):  # The backlog of the listener is full, so the operating system drops further connections.
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            queued.append(connection)
        with transport_to(f"smtp://127.0.0.1:{port}", connect_timeout=timedelta(seconds=0.3)) as transport:
            begun = time.monotonic()
            failure = failure_of(transport)
            took = time.monotonic() - begun
        for connection in queued:
            connection.close()

    assert str(failure) == "the server took too long"
    assert 0.25 < took < 15


def test_a_connection_lost_after_data_defers_the_email_and_keeps_its_message_id(
    sink: SmtpSink, transport: SmtpTransport
) -> None:
    transport.send(email(), to=TO)
    sink.mode = "drop after DATA"

    failure = failure_of(transport)

    assert type(failure) is MailDeferred
    assert "reply to the email was lost" in str(failure)
    assert len(sink.messages) == 2
    assert sink.messages[0].message_id == sink.messages[1].message_id


@pytest.mark.parametrize("known", [True, False], ids=["on a kept connection", "on a new connection"])
def test_a_tarpit_delays_an_email_no_longer_than_the_timeout(sink: SmtpSink, known: bool) -> None:
    with transport_to(sink.url, timeout=1) as transport:
        if known:
            transport.send(email(), to=TO)
        sink.mode = "tarpit"

        begun = time.monotonic()
        failure = failure_of(transport)
        took = time.monotonic() - begun

        assert str(failure) == "the server took too long"
        assert 0.9 < took < 6, "the whole reply takes more than eight seconds"
        sink.mode = "normal"
        transport.send(email(), to=TO)


def test_a_tarpit_after_data_is_a_lost_reply(sink: SmtpSink) -> None:
    def talk(client: socket.socket) -> None:
        send_replies(client, "220 hello", "250 hello", "250 OK", "250 OK", "354 go on")
        client.recv(65536)
        for byte in b"250 taken after all, only rather late\r\n":
            time.sleep(0.1)
            client.sendall(bytes([byte]))

    with server(talk) as port, transport_to(f"smtp://127.0.0.1:{port}", timeout=0.5) as transport:
        begun = time.monotonic()
        failure = failure_of(transport)

        assert str(failure) == "the reply to the email was lost: the server took too long"
        assert time.monotonic() - begun < 3, "the whole reply takes almost four seconds"


def test_a_server_that_stops_reading_delays_an_email_no_longer_than_the_timeout() -> None:
    finished = threading.Event()

    def talk(client: socket.socket) -> None:
        send_replies(client, "220 hello", "250 hello", "250 OK", "250 OK", "354 go on")
        finished.wait(10)

    with server(talk) as port, transport_to(f"smtp://127.0.0.1:{port}", timeout=1) as transport:
        begun = time.monotonic()
        failure = failure_of(transport, large_email())
        took = time.monotonic() - begun
        finished.set()

    assert "the server took too long" in str(failure)
    assert took < 8, "the server would continue to read after ten seconds"


def test_a_server_that_stops_replying_delays_an_email_no_longer_than_the_timeout_of_a_step() -> None:
    finished = threading.Event()

    def talk(client: socket.socket) -> None:
        send_replies(client, "220 hello", "250 hello", "250 OK")
        finished.wait(10)

    step = timedelta(seconds=0.4)
    with server(talk) as port, transport_to(f"smtp://127.0.0.1:{port}", timeout=8, step_timeout=step) as transport:
        begun = time.monotonic()
        failure = failure_of(transport)
        took = time.monotonic() - begun
        finished.set()

    assert str(failure) == "the server took too long"
    assert 0.35 < took < 4


def test_a_server_that_is_slow_at_every_step_gets_the_email() -> None:
    """Field fault B10, a tenth of its size: 0.3 s for each of six replies, and a time limit of 1 s for each step."""
    received: list[bytes] = []

    def talk(client: socket.socket) -> None:
        for reply in ("220 hello", "250 hello", "250 OK", "250 OK", "354 go on", "250 accepted"):
            time.sleep(0.3)
            client.sendall(f"{reply}\r\n".encode())
            received.append(client.recv(65536))

    step = timedelta(seconds=1)
    with server(talk) as port, transport_to(f"smtp://127.0.0.1:{port}", timeout=10, step_timeout=step) as transport:
        begun = time.monotonic()
        transport.send(email(), to=TO)
        took = time.monotonic() - begun

    assert took > 1.7
    assert received[4].endswith(b"\r\n.\r\n")


def test_a_tarpit_for_one_recipient_does_not_delay_the_others(sink: SmtpSink) -> None:
    sink.modes["slow@example.org"] = "tarpit"
    with transport_to(sink.url, timeout=60) as transport:
        slow = threading.Thread(target=failure_or_none, args=(transport, "slow@example.org"))
        slow.start()
        wait_until(lambda: bool(sink.recipients))
        for _ in range(10):
            transport.send(email(), to=TO)
        assert slow.is_alive()
        assert len(sink.messages) == 10
        sink.drip = 0
        slow.join()
