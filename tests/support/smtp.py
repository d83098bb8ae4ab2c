"""SMTP servers that break the protocol, certificates, and what tests of the SMTP transport send."""

import socket
import ssl
import threading
import time
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
from auth_service.adapters.email.transport import MailFailure

TO = "ada@example.org"
PASSWORD = "päss:w@rd/%"
QUOTED_PASSWORD = "p%C3%A4ss%3Aw%40rd%2F%25"


@contextmanager
def transport_to(url: str, *, timeout: float = 5, **options: Any) -> Iterator[SmtpTransport]:
    transport = SmtpTransport(url, timeout=timedelta(seconds=timeout), **options)
    try:
        yield transport
    finally:
        transport.close()


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


def failure_or_none(transport: SmtpTransport, to: str) -> MailFailure | None:
    try:
        transport.send(email(), to=to)
    except MailFailure as failure:
        return failure
    return None


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


def server_side(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
