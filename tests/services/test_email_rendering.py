"""Email rendering: subject, text and HTML part of every kind of email, as mail clients parse them."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.utils import getaddresses
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from auth_service.services.email import rendering

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

CODE = {"code": "7505", "minutes": 10}
WHERE = {"at": "2026-11-23 12:00 UTC", "device": "Firefox 143 on Windows 11", "address": "2001:db8::5"}
UNDO = {"undo_url": "https://id.example.org/undo?lang=en&copy=1#Vq3-_hT9'x", "hours": 48}
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
    "account_deleted": {"at": WHERE["at"]},
}
# The service makes codes and links; a client may choose all other values.
WORDS = ("service", "at", "device", "address", "new_email")
LABELS = {
    "en": {"at": "When", "device": "Device", "address": "IP address", "new_email": "New address"},
    "ru": {"at": "Когда", "device": "Устройство", "address": "IP-адрес", "new_email": "Новый адрес"},
}

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


@pytest.mark.parametrize(
    ("language", "subject", "lifetime"),
    [
        ("en", "7505 is your code for Portal", "within 10 minutes"),
        ("ru", "7505 — ваш код для «Portal»", "в течение 10 минут."),
    ],
)
def test_an_email_shows_the_code_in_its_subject_text_and_html(language: str, subject: str, lifetime: str) -> None:
    email = parsed(rendered(language))

    assert email["Subject"] == subject
    assert "7505" in body(email, "plain").splitlines()
    assert lifetime in body(email, "plain")
    assert "7505" in HtmlBody(body(email, "html")).words
    assert lifetime in HtmlBody(body(email, "html")).words


def test_every_kind_has_a_text_and_an_html_template_in_every_language_and_there_are_no_others() -> None:
    templates = Path(rendering.__file__).with_name("templates")
    expected = {
        f"{kind}.{language}.{form_}" for kind in KINDS for language in rendering.LANGUAGES for form_ in ("txt", "html")
    }

    assert {path.name for path in templates.iterdir()} - {"layout.html"} == expected


@every_email
def test_an_email_shows_each_of_its_values_in_text_and_html(kind: str, language: str) -> None:
    email = parsed(rendered(language, kind))
    text, words = body(email, "plain"), HtmlBody(body(email, "html")).words

    assert email["Content-Language"] == language
    assert not email.defects
    for value in ("Portal", *map(str, KINDS[kind].values())):
        assert re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)
        assert re.search(rf"(?<!\w){re.escape(value)}(?!\w)", words)


@every_email
def test_an_email_labels_time_device_and_address(kind: str, language: str) -> None:
    email = parsed(rendered(language, kind))
    labelled = [f"{label}: {KINDS[kind][name]}" for name, label in LABELS[language].items() if name in KINDS[kind]]

    assert set(labelled) <= set(body(email, "plain").splitlines())
    assert set(labelled) <= set(HtmlBody(body(email, "html")).words.splitlines())


@every_email
def test_an_email_is_not_rendered_without_one_of_its_values(kind: str, language: str) -> None:
    for name in ("service", *KINDS[kind]):
        with pytest.raises(UndefinedError, match=name):
            rendered(language, kind, without=name)


@every_email
def test_a_subject_begins_with_the_code_and_contains_no_client_supplied_value(kind: str, language: str) -> None:
    email = parsed(rendered(language, kind))
    subject, lines = email["Subject"], body(email, "plain").splitlines()

    assert "Portal" in subject
    assert not [value for name, value in KINDS[kind].items() if name != "code" and str(value) in subject]
    assert subject.startswith("7505 ") == ("code" in KINDS[kind])
    assert ("7505" in lines) == ("code" in KINDS[kind])


@pytest.mark.parametrize("language", rendering.LANGUAGES)
def test_no_two_kinds_have_the_same_subject(language: str) -> None:
    subjects = {parsed(rendered(language, kind))["Subject"] for kind in KINDS}

    assert len(subjects) == len(KINDS)


@every_email
def test_only_kinds_with_an_account_revert_have_a_link_and_it_shows_its_url(kind: str, language: str) -> None:
    email = parsed(rendered(language, kind))
    text, html = body(email, "plain"), body(email, "html")
    expected = [UNDO["undo_url"]] if kind in ("new_device", "email_changed") else []

    assert re.findall(r"\S*://.*", text) == expected
    assert set(expected) <= set(text.splitlines())
    shown = re.findall(r'<a href="([^"<>]*)">([^<>]*)</a>', html)
    assert [tuple(map(unescape, link)) for link in shown] == [(url, url) for url in expected]
    assert [tag for tag, _ in HtmlBody(html).tags].count("a") == len(expected)
    assert html.count("://") == 2 * len(expected)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "javascript:alert(1)",
        "//example.org/undo",
        "/undo",
        "ftp://example.org/undo",
        "https://",
        "https://example.org/un do",
        'https://example.org/"undo',
        "https://example.org/<undo>",
        "https://пример.example/undo",
        "see https://example.org/undo",
        None,
    ],
)
def test_a_link_is_an_absolute_http_url(link: str | None) -> None:
    with pytest.raises(ValueError, match=r"^undo_url is not a link"):
        rendered("en", "new_device", values={"undo_url": link})


def test_the_headers_mark_an_email_as_auto_generated_rfc_3834() -> None:
    email = parsed(rendered("ru", sender="Портал <no-reply@example.org>"))

    assert email.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in email.iter_parts()] == ["text/plain", "text/html"]
    assert email["From"] == "Портал <no-reply@example.org>"
    assert email["From"].addresses[0].addr_spec == "no-reply@example.org"
    assert email["To"] == "ada@example.org"
    assert email["Date"].datetime == NOON
    assert email["Message-ID"] == "<0b0e3b4e-4d2c-4a7e-9e7b-2f9f2b1c1d11@example.org>"
    assert email["Auto-Submitted"] == "auto-generated"
    assert email["X-Auto-Response-Suppress"] == "All"
    assert email["Content-Language"] == "ru"
    assert email["MIME-Version"] == "1.0"
    assert not email.defects


@every_email
def test_the_html_loads_no_resource_and_sets_no_colours(kind: str, language: str) -> None:
    html = body(parsed(rendered(language, kind)), "html")
    page = HtmlBody(html)

    assert not {"img", "link", "script", "style", "iframe", "form"} & {tag for tag, _ in page.tags}
    assert not {"src", "background", "color", "bgcolor"} & {name for _, attributes in page.tags for name in attributes}
    assert {tag for tag, attributes in page.tags if "href" in attributes} <= {"a"}
    assert "url(" not in html
    assert not re.search(r"(?<!-)color\s*:", html)
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in page.tags
    assert ("html", {"lang": language}) in page.tags


@every_email
def test_markup_in_values_is_escaped(kind: str, language: str) -> None:
    markup = "<b onload='x'>Tea & \"Co\"</b><a href=https://evil.example>{{ code }}"
    values = with_text(kind, markup)
    email = parsed(rendered(language, kind, values=values))
    page, plain = HtmlBody(body(email, "html")), HtmlBody(body(parsed(rendered(language, kind)), "html"))

    assert page.tags == plain.tags
    # The title of the HTML part repeats the name of the service.
    assert page.words.count(markup) >= body(email, "plain").count(markup) >= len(values)
    assert markup in email["Subject"]


@every_email
def test_no_value_can_end_a_mime_part(kind: str, language: str) -> None:
    words = f"--{rendering.BOUNDARY}"
    email = parsed(rendered(language, kind, values=with_text(kind, words)))

    assert [part.get_content_type() for part in email.iter_parts()] == ["text/plain", "text/html"]
    assert words in body(email, "plain")
    assert body(email, "html").endswith("</html>\n")
    assert not email.defects


@pytest.mark.parametrize("kind", ["registration_code", "email_changed"])
@pytest.mark.parametrize("language", rendering.LANGUAGES)
@pytest.mark.parametrize(
    "words", ["Portal", "Портал для всех, кто умеет читать очень длинные названия порталов", "🫖" * 60]
)
def test_any_script_is_encoded_in_seven_bits_and_short_lines(kind: str, language: str, words: str) -> None:
    email = rendered(language, kind, values=with_text(kind, words))
    raw = email.as_bytes()

    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert words in parsed(email)["Subject"]
    assert body(parsed(email), "plain").count(words) >= len(with_text(kind, words))


@pytest.mark.parametrize("service", ["a" * 1500, "a  b " * 20 + "c"])
def test_values_beyond_the_limits_of_smtp_lines_are_encoded(service: str) -> None:
    email = rendered("en", values={"service": service})

    assert max(map(len, email.as_bytes().split(b"\r\n"))) <= 998
    assert parsed(email)["Subject"] == f"7505 is your code for {service}"
    assert service in body(parsed(email), "plain")


@pytest.mark.parametrize(
    ("language", "minutes", "words"),
    [
        ("en", 1, "within 1 minute."),
        ("en", 5, "within 5 minutes."),
        ("ru", 1, "в течение 1 минуты."),
        ("ru", 2, "в течение 2 минут."),
        ("ru", 11, "в течение 11 минут."),
        ("ru", 21, "в течение 21 минуты."),
        ("ru", 111, "в течение 111 минут."),
    ],
)
def test_minutes_use_the_plural_form_of_the_language(language: str, minutes: int, words: str) -> None:
    for kind in (kind for kind in KINDS if "minutes" in KINDS[kind]):
        email = parsed(rendered(language, kind, values={"minutes": minutes}))

        assert words in body(email, "plain")
        assert words in HtmlBody(body(email, "html")).words


@pytest.mark.parametrize(
    ("language", "hours", "words"),
    [
        ("en", 1, "within 1 hour."),
        ("en", 72, "within 72 hours."),
        ("ru", 1, "в течение 1 часа."),
        ("ru", 11, "в течение 11 часов."),
        ("ru", 21, "в течение 21 часа."),
        ("ru", 72, "в течение 72 часов."),
        ("ru", 111, "в течение 111 часов."),
    ],
)
def test_hours_use_the_plural_form_of_the_language(language: str, hours: int, words: str) -> None:
    for kind in (kind for kind in KINDS if "hours" in KINDS[kind]):
        email = parsed(rendered(language, kind, values={"hours": hours}))

        assert words in body(email, "plain")
        assert words in HtmlBody(body(email, "html")).words


BREAKS = [
    "\r\nBcc: eve@example.org",
    "\nX-Evil: 1",
    "\rX-Evil: 1",
    "\x00",
    "\x85",
    "\u2028",
    "\u2029",
    "\ud800",
    "\x0b",
    "\x7f",
    "=?utf-8?q?a=0AX-Evil:_1?=",
]


@pytest.mark.parametrize("break_", BREAKS)
@pytest.mark.parametrize("where", ["to", "sender", "message_id", "code", "undo_url", *WORDS])
def test_no_value_can_inject_a_header(where: str, break_: str) -> None:
    kind = "registration_code" if where == "code" else "email_changed"
    fields = {
        "to": "ada@example.org",
        "sender": "no-reply@example.org",
        "message_id": "<1@example.org>",
        "service": "Portal",
        **KINDS[kind],
    }
    broken = {where: f"{fields[where]}{break_}"}
    changed = broken if where in ("to", "sender", "message_id") else {"values": broken}

    with pytest.raises(ValueError, match=f"^{where} contains a line break") as rejected:
        rendered("en", kind, **changed)

    assert str(fields[where]) not in str(rejected.value)


@settings(deadline=None)  # The machine may be busy.
@given(service=st.text(min_size=1, max_size=80))
def test_no_service_name_adds_or_changes_headers(service: str) -> None:
    expected = rendered().keys()
    try:
        email = parsed(rendered("ru", values={"service": service}))
    except ValueError:
        assert rendering.UNFIT.search(service)
        return

    assert email.keys() == expected
    assert email["To"] == "ada@example.org"
    assert email["Subject"] == f"7505 — ваш код для «{service}»"
    assert f"«{service}»" in body(email, "plain")


@settings(max_examples=50, deadline=None)
@given(language=st.sampled_from(rendering.LANGUAGES), device=st.text(max_size=80))
def test_no_device_name_breaks_out_of_its_line(language: str, device: str) -> None:
    expected = parsed(rendered(language, "new_device"))
    try:
        email = parsed(rendered(language, "new_device", values={"device": device}))
    except ValueError:
        assert rendering.UNFIT.search(device)
        return

    assert email.items() == expected.items()
    assert body(email, "plain") == body(expected, "plain").replace(f": {WHERE['device']}\n", f": {device}\n")
    page, expected_page = HtmlBody(body(email, "html")), HtmlBody(body(expected, "html"))
    assert page.tags == expected_page.tags
    assert page.words == expected_page.words.replace(WHERE["device"], device)


@pytest.mark.parametrize(
    "to",
    [
        "",
        "ada",
        "ada@example.org, eve@example.org",
        "ada@example.org,eve@example.org",
        "Ada <ada@example.org>",
        "g: a@b;",
    ],
)
def test_an_email_is_to_exactly_one_address(to: str) -> None:
    with pytest.raises(ValueError, match="the recipient of an email is one address"):
        rendered(to=to)


def test_an_email_needs_a_known_language_and_a_time_zone() -> None:
    with pytest.raises(ValueError, match="no letters in this language"):
        rendered("tlh")
    with pytest.raises(ValueError, match="zone"):
        rendered(date=NOON.replace(tzinfo=None))


def test_a_message_id_is_never_folded_or_encoded() -> None:
    message_id = f"<0b0e3b4e-4d2c-4a7e-9e7b-2f9f2b1c1d11@{'auth.' * 20}example.org>"

    assert f"\r\nMessage-ID: {message_id}\r\n".encode() in rendered(message_id=message_id).as_bytes()


@pytest.mark.parametrize("name", ["Портал для всех, кто читает очень длинные названия порталов", 'Portal, "Inc."'])
def test_the_name_of_the_sender_is_sent_in_short_encoded_words_or_in_quotes(name: str) -> None:
    sender = str(Address(display_name=name, addr_spec="no-reply@example.org"))
    raw = rendered(sender=sender).as_bytes()
    # As most mail programs read it; the parser of `EmailMessage` keeps the spaces between encoded words.
    header = str(make_header(decode_header(message_from_bytes(raw)["From"])))

    assert getaddresses([header])[-1][1] == "no-reply@example.org"
    assert name in header.replace("\\", "")
    assert all(len(line) <= 76 for line in raw.split(b"\r\n") if b"=?" in line)


@pytest.mark.parametrize("sender", ["", "Portal", "Portal, Inc. <no-reply@example.org>", "но-реплай@example.org"])
def test_an_email_is_from_exactly_one_address(sender: str) -> None:
    with pytest.raises(ValueError, match="the sender of an email is one address"):
        rendered(sender=sender)
