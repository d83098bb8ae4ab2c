"""Sender of emails (`MAIL_FROM`, `SERVICE_NAME`): From header with a display name, envelope address, Message-ID."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth_service.invisible_characters import trimmed
from auth_service.services.email import rendering
from auth_service.settings import Settings, SettingsRefused

LONG = "ポータル・サービス管理事務局からのお知らせ"  # more than one encoded word


def settings_with(**values: Any) -> Settings:
    """Settings of the profile `test`."""
    return Settings.read(env_file=None, app_env="test", **values)


def from_header(settings: Settings) -> tuple[str, str]:
    """Display name and address of the From header of an email, as a mail program reads them."""
    message = rendering.render(
        "registration_code",
        "en",
        to="ada@example.org",
        sender=settings.sender,
        message_id="<1@example.org>",
        date=datetime.now(UTC),
        values={"service": settings.service_name, "code": "123456", "minutes": 10},
    )
    content = message.as_bytes()
    assert all(len(line) <= 998 for line in content.splitlines())
    name, address = parseaddr(" ".join(message_from_bytes(content)["From"].splitlines()))
    return str(make_header(decode_header(name))), address


@pytest.mark.parametrize(
    ("mail_from", "name", "address"),
    [
        (None, "Portal", "no-reply@127.0.0.1"),
        ("no-reply@example.org", "Portal", "no-reply@example.org"),
        ("<no-reply@example.org>", "Portal", "no-reply@example.org"),
        ("Accounts <no-reply@example.org>", "Accounts", "no-reply@example.org"),
        ("  Accounts  <no-reply@example.org>  ", "Accounts", "no-reply@example.org"),
        ('"Accounts, Inc." <no-reply@example.org>', "Accounts, Inc.", "no-reply@example.org"),
        ("Accounts, Inc. <no-reply@example.org>", "Accounts, Inc.", "no-reply@example.org"),
        (r'"The \"Portal\"" <a+b@sub.example.org>', 'The "Portal"', "a+b@sub.example.org"),
        ("Портал <no-reply@example.org>", "Портал", "no-reply@example.org"),
        (f"{LONG} <a@xn--bcher-kva.example>", LONG, "a@xn--bcher-kva.example"),
        ("me@home.example <no-reply@example.org>", "me@home.example", "no-reply@example.org"),
    ],
)  # fmt: skip
def test_the_sender_has_a_display_name(mail_from: str | None, name: str, address: str) -> None:
    settings = settings_with(public_url="http://127.0.0.1:5000", **({"mail_from": mail_from} if mail_from else {}))

    assert from_header(settings) == (name, address)
    assert parseaddr(settings.sender)[1] == address, "of the envelope and the Message-ID"


@pytest.mark.parametrize(
    "mail_from",
    [
        "Portal",
        "Portal no-reply@example.org",
        "Portal <no-reply>",
        "Portal <no-reply@example.org> (us)",
        "no-reply@example.org, eve@example.org",
        "<a@example.org> <b@example.org>",
        'Por"tal <a@example.org>',
        '"Portal <a@example.org>',
        "Portal <ü@example.org>",
        "Portal <a@bücher.example>",
        "Portal\r\nBcc: eve@example.org <a@example.org>",
        "Portal <a@example.org>\nBcc: eve@example.org",
        "=?utf-8?q?Portal?= <a@example.org>",
        f"{'x' * 101} <a@example.org>",
        "Portal <a@example..org>",
        "Portal <a@.org>",
    ],
)
def test_a_sender_with_which_no_email_could_be_sent_is_refused(mail_from: str) -> None:
    with pytest.raises(SettingsRefused, match=r"^MAIL_FROM: "):
        settings_with(mail_from=mail_from)


@pytest.mark.parametrize("service_name", ["Por\ntal", "Portal\x00", "=?utf-8?q?Portal?=", "Por\u2028tal"])
def test_a_service_name_that_no_email_could_contain_is_refused(service_name: str) -> None:
    with pytest.raises(SettingsRefused, match=r"^SERVICE_NAME: "):
        settings_with(service_name=service_name)


@example(service_name="Portal\u00ad")
@given(service_name=st.text(min_size=1, max_size=60).filter(lambda text: text == text.strip() != ""))
def test_every_accepted_service_name_is_the_display_name(service_name: str) -> None:
    try:
        settings = settings_with(service_name=service_name)
    except SettingsRefused:
        return

    # Invisible characters at the ends of a setting are removed (CF1).
    assert " ".join(from_header(settings)[0].split()) == " ".join(trimmed(service_name).split())
