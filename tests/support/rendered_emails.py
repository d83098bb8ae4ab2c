"""Rendered emails: one of each kind, as mail clients parse them."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from html.parser import HTMLParser
from typing import Any

import pytest

from auth_service.services.email import rendering

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
CODE = {"code": "7505", "minutes": 10}
WHERE = {"at": "2026-11-23 12:00 UTC", "device": "Firefox 143 on Windows 11", "address": "2001:db8::5"}
UNDO = {"undo_url": "https://id.example.org/undo?lang=en&copy=1#Vq3-_hT9'x", "hours": 48}
CANCEL = {
    "due": "2026-11-30 12:00 UTC",
    "cancel_url": "https://id.example.org/account/second_factor_reset?lang=en&copy=1#Vq3-_hT9'x",
}
INVITATION = {
    "invitation_url": "https://id.example.org/account/invitation?lang=en&copy=1#Vq3-_hT9'x",
    "valid_until": "2026-11-30 12:00 UTC",
}

KINDS: dict[str, dict[str, Any]] = {
    "registration_code": CODE,
    "sign_in_code": CODE,
    "recovery_code": CODE,
    "email_code": CODE,
    "deletion_code": CODE,
    "new_device": WHERE | UNDO,
    "password_changed": WHERE,
    "password_recovered": WHERE,
    "refresh_reused": WHERE,
    "email_changed": WHERE | UNDO | {"new_email": "g***@example.net"},
    "reauthentication_code": CODE,
    "role_changed": WHERE | {"role": "ROLE_EDITOR", "granted": True},
    "administrators_changed": WHERE | {"changed_user": "4711", "granted": True},
    "account_deleted": {"at": WHERE["at"]},
    "account_banned": {"at": WHERE["at"], "reason": "Spam in the comments", "until": "2026-12-24 18:00 UTC"},
    "password_reset_forced": {"at": WHERE["at"]},
    "invitation": INVITATION,
    "second_factor_on": WHERE | {"new_codes": False},
    "second_factor_off": WHERE,
    "second_factor_attempts": WHERE,
    "second_factor_reset_code": CODE,
    "second_factor_reset_asked": WHERE | CANCEL,
    "second_factor_reset_near": CANCEL,
    "second_factor_reset_done": {"at": WHERE["at"], "by_administrator": False} | UNDO,
    "recovery_code_used": WHERE | {"left": 9},
    "passkey_added": WHERE,
    "passkey_removed": WHERE,
    "passkey_cloned": WHERE,
}

# The service makes codes and links; a client may choose all other values.
WORDS = ("service", "at", "device", "address", "new_email", "reason")

every_email = pytest.mark.parametrize(
    ("kind", "language"), [(kind, language) for kind in KINDS for language in rendering.LANGUAGES]
)


def with_text(kind: str, words: str) -> dict[str, str]:
    """The same text as each value of a kind that a client may choose."""
    return {name: words for name in ("service", *KINDS[kind]) if name in WORDS}


def rendered(language: str = "en", kind: str = "registration_code", **changed: Any) -> Message:
    values = {"service": "Portal", **KINDS[kind]} | changed.pop("values", {})
    values.pop(changed.pop("without", None), None)
    fields = {
        "to": "ada@example.org",
        "sender": "no-reply@example.org",
        "message_id": "<0b0e3b4e-4d2c-4a7e-9e7b-2f9f2b1c1d11@example.org>",
        "date": NOON,
        "values": values,
    }
    return rendering.render(kind, language, **(fields | changed))


def parsed(message: Message) -> EmailMessage:
    """The email as a mail client parses it."""
    return message_from_bytes(message.as_bytes(), policy=policy.default)


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


class HtmlBody(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data
