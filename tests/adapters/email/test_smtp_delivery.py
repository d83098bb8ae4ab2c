"""SMTP transport: an email arrives unchanged, and no content or address can smuggle another one."""

from datetime import UTC, datetime

import pytest

from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.transport import MailDeferred, MailRefused
from auth_service.services.email import rendering
from tests.support.smtp import TO, email, failure_of, text_of
from tests.support.smtp_sink import SmtpSink


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
