"""SMTP transport: delivery, failures, time limits and TLS, against servers that follow or break the protocol."""

import smtplib
import socket
import ssl
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.transport import MailDeferred, MailFailure, MailRefused
from auth_service.services.email import rendering
from auth_service.settings.smtp_url import SmtpUrl
from tests.support.fakes import Mode, SmtpSink

TO = "ada@example.org"
PASSWORD = "päss:w@rd/%"
QUOTED_PASSWORD = "p%C3%A4ss%3Aw%40rd%2F%25"


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink(drip=0.2) as sink:
        yield sink


@contextmanager
def transport_to(url: str, *, timeout: float = 5, **options: Any) -> Iterator[SmtpTransport]:
    transport = SmtpTransport(url, timeout=timedelta(seconds=timeout), **options)
    try:
        yield transport
    finally:
        transport.close()


@pytest.fixture
def transport(sink: SmtpSink) -> Iterator[SmtpTransport]:
    with transport_to(sink.url) as transport:
        yield transport


def email(text: str = "Hello.\n", subject: str = "7505 is your code") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Portal <no-reply@example.org>"
    message["To"] = TO
    message["Subject"] = subject
    message["Message-ID"] = "<1@example.org>"
    message.set_content(text)
    return message


def large_email() -> EmailMessage:
    message = email()
    message.set_payload(("x" * 900 + "\n") * 20_000)
    return message


def text_of(message: EmailMessage) -> str:
    return str(message.get_content()).replace("\r\n", "\n")


def failure_of(transport: SmtpTransport, message: EmailMessage | None = None, *, to: str = TO) -> MailFailure:
    with pytest.raises(MailFailure) as failed:
        transport.send(message or email(), to=to)
    return failed.value


def wait_until(holds: Callable[[], bool], *, within: float = 5) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.005)


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that runs `talk` for one client after the other; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        open_now: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    open_now.append(client)
                    with client, suppress(OSError):
                        talk(client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for client in open_now:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def send_replies(client: socket.socket, *replies: str) -> None:
    """Send each reply, and read what the client sends after each but the last."""
    for reply in replies:
        client.sendall(f"{reply}\r\n".encode())
        if reply is not replies[-1]:
            client.recv(65536)


def certificate(folder: Path, *names: str) -> Path:
    """A self-signed certificate with its key, in one file that is also its certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    alternatives: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(known)) if known[0].isdigit() else x509.DNSName(known) for known in names
    ]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("trusted"), "127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("elsewhere"), "elsewhere.test")


def server_side(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


# The URL.


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.org", SmtpUrl(scheme="smtp", host="mail.example.org", port=25)),
        ("smtp://localhost:1025/", SmtpUrl(scheme="smtp", host="localhost", port=1025)),
        ("smtps://mail", SmtpUrl(scheme="smtps", host="mail", port=465)),
        ("smtp+starttls://mail", SmtpUrl(scheme="smtp+starttls", host="mail", port=587)),
        ("smtp://[::1]:2525", SmtpUrl(scheme="smtp", host="::1", port=2525)),
        (
            f"smtps://mail%40me:{QUOTED_PASSWORD}@10.0.0.1:65535",
            SmtpUrl(scheme="smtps", host="10.0.0.1", port=65535, user="mail@me", password=PASSWORD),
        ),
        ("smtp://u:p@127.8.9.1", SmtpUrl(scheme="smtp", host="127.8.9.1", port=25, user="u", password="p")),
        ("smtp://u:p@[::1]", SmtpUrl(scheme="smtp", host="::1", port=25, user="u", password="p")),
    ],
)
def test_a_url_is_parsed(url: str, expected: SmtpUrl) -> None:
    assert SmtpUrl.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.org",
        "http://mail.example.org",
        "smtp://",
        "smtp://u:s3cret@",
        "smtps://u:s3cret",
        "smtps://u:s3cret/s3cret@mail",
        "smtps://u:s3cret?s3cret@mail",
        "smtps://u:s3cret#@mail",
        "smtps://u:s3cret@s3cret@mail",
        "smtps://u:s3cret:s3cret@mail",
        "smtps://u:s3cret%@mail",
        "smtps://u:s3cret%FF@mail",
        "smtps://u:s3cret%00@mail",
        "smtps://u:s3cret%0D%0A@mail",
        "smtps://u:s3cret @mail",
        "smtps://u:s3cret@mail\n",
        "smtps://:s3cret@mail",
        "smtps://u:@mail",
        "smtps://s3cret@mail",
        "smtps://u:s3cret@mail:0",
        "smtps://u:s3cret@mail:65536",
        "smtps://u:s3cret@mail:s3cret",
        "smtps://u:s3cret@mail/box",
        "smtps://u:s3cret@mail?tls=no",
        "smtps://u:s3cret@-..org",
        "smtps://u:s3cret@[1:2]",
        "smtps://u:s3cret@[::1",
        "smtp://u:s3cret@mail.example.org",
        "smtp://u:s3cret@10.0.0.1",
        "smtp://u:s3cret@localhost.example.org",
        "smtp://u:s3cret@127.0.0.1.example.org",
    ],
)
def test_an_invalid_url_is_rejected_without_its_password_in_the_error(url: str) -> None:
    with pytest.raises(ValueError) as rejected:
        SmtpTransport(url)

    assert "s3cret" not in "".join(traceback.format_exception_only(rejected.value))
    assert rejected.value.__context__ is None


def test_the_password_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(SmtpUrl.parse("smtps://u:s3cret@mail"))


# Delivered emails.


def test_an_email_is_delivered_unchanged(sink: SmtpSink, transport: SmtpTransport) -> None:
    transport.send(email("Привет.\n", subject="7505 — ваш код"), to="Ada.Lovelace+x@example.org")

    [delivered] = sink.messages
    assert (delivered.sender, delivered.recipients) == ("no-reply@example.org", ("Ada.Lovelace+x@example.org",))
    assert delivered.message["Subject"] == "7505 — ваш код"
    assert delivered.message["To"] == TO
    assert delivered.message_id == "<1@example.org>"
    assert text_of(delivered.message) == "Привет.\n"
    assert delivered.raw.isascii()


@pytest.mark.parametrize("end", ["", "\n", "\n.", "\n.\n"])
def test_no_line_ends_the_email_early(sink: SmtpSink, transport: SmtpTransport, end: str) -> None:
    text = ".\na\n.\nb\n..\n.c\nMAIL FROM:<eve@example.org>\n\nd" + end
    message = email()
    message.set_payload(text)

    transport.send(message, to=TO)
    transport.send(email("next\n"), to=TO)

    first, second = sink.messages
    assert text_of(first.message) == text + ("" if end.endswith("\n") else "\n")
    assert text_of(second.message) == "next\n"


def test_bare_line_ends_cannot_smuggle_a_second_email(sink: SmtpSink, transport: SmtpTransport) -> None:
    message = email()
    message.set_payload("a\r.\rMAIL FROM:<eve@example.org>\r\nb\n.\r\nRCPT TO:<eve@example.org>\r\n")

    transport.send(message, to=TO)

    [delivered] = sink.messages
    assert delivered.raw.count(b"\r") == delivered.raw.count(b"\n") == delivered.raw.count(b"\r\n")
    assert b"RCPT TO:<eve@example.org>" in delivered.raw
    assert [address for _, address in sink.recipients] == [TO]


@pytest.mark.parametrize(
    "to",
    [
        "",
        "ada",
        "ada@",
        "ada@example.org, eve@example.org",
        "ada@example.org,eve@example.org",
        "ada@example.org> SIZE=1",
        "ada@example.org\r\nDATA",
        "Ada <ada@example.org>",
        '"a b"@example.org',
        "ада@example.org",
        "ada@[127.0.0.1]",
        "ada@example.org\n",
    ],
)
def test_an_invalid_recipient_is_rejected_without_a_connection(
    sink: SmtpSink, transport: SmtpTransport, to: str
) -> None:
    failure = failure_of(transport, to=to)

    assert isinstance(failure, MailRefused)
    assert "example" not in str(failure)
    assert sink.talks_begun == 0


def test_an_unusable_sender_defers_the_email(sink: SmtpSink, transport: SmtpTransport) -> None:
    message = email()
    message.replace_header("From", "no-reply@[127.0.0.1]")

    assert isinstance(failure_of(transport, message), MailDeferred)
    assert sink.talks_begun == 0


def test_the_envelope_has_the_bare_address_of_a_sender_whose_name_is_encoded(
    sink: SmtpSink, transport: SmtpTransport
) -> None:
    message = rendering.render(
        "registration_code",
        "ru",
        to=TO,
        sender='"Портал для всех, кто читает очень длинные названия" <no-reply@example.org>',
        message_id="<1@example.org>",
        date=datetime.now(UTC),
        values={"service": "Портал", "code": "7505", "minutes": 10},
    )

    transport.send(message, to=TO)

    [delivered] = sink.messages
    assert delivered.sender == "no-reply@example.org"
    assert delivered.raw == message.as_bytes()


# The connection.


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


def failure_or_none(transport: SmtpTransport, to: str) -> MailFailure | None:
    try:
        transport.send(email(), to=to)
    except MailFailure as failure:
        return failure
    return None


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


# Rejections.


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


# Servers that disconnect or stall.


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


# TLS and credentials.


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
