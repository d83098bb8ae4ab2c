"""Letters, as the programs of their readers take them apart."""

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

from auth_service.services.email import rendering as letters

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
# A code and a link are ours; all other words were chosen by a user.
WORDS = ("service", "at", "device", "address", "new_email")
LABELS = {
    "en": {"at": "When", "device": "Device", "address": "IP address", "new_email": "New address"},
    "ru": {"at": "Когда", "device": "Устройство", "address": "IP-адрес", "new_email": "Новый адрес"},
}

every_letter = pytest.mark.parametrize(
    ("kind", "language"), [(kind, language) for kind in KINDS for language in letters.LANGUAGES]
)


def in_words(kind: str, words: str) -> dict[str, str]:
    """The same words as each value of a kind that a client may choose."""
    return {name: words for name in ("service", *KINDS[kind]) if name in WORDS}


def written(language: str = "en", kind: str = "registration_code", **changed: Any) -> Message:
    values = {"service": "Portal", **KINDS[kind]} | changed.pop("values", {})
    values.pop(changed.pop("without", None), None)
    fields = {
        "to": "ada@example.org",
        "sender": "no-reply@example.org",
        "message_id": "<0b0e3b4e-4d2c-4a7e-9e7b-2f9f2b1c1d11@example.org>",
        "date": NOON,
        "values": values,
    }
    return letters.render(kind, language, **(fields | changed))


def received(message: Message) -> EmailMessage:
    """The letter as it comes out of the wire."""
    return message_from_bytes(message.as_bytes(), policy=policy.default)


def form(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


class Page(HTMLParser):
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
def test_the_letter_says_the_code_in_its_subject_its_text_and_its_page(
    language: str, subject: str, lifetime: str
) -> None:
    letter = received(written(language))

    assert letter["Subject"] == subject
    assert "7505" in form(letter, "plain").splitlines()
    assert lifetime in form(letter, "plain")
    assert "7505" in Page(form(letter, "html")).words
    assert lifetime in Page(form(letter, "html")).words


def test_every_kind_has_a_text_and_a_page_in_every_language_and_there_are_no_others() -> None:
    templates = Path(letters.__file__).with_name("templates")
    expected = {
        f"{kind}.{language}.{form_}" for kind in KINDS for language in letters.LANGUAGES for form_ in ("txt", "html")
    }

    assert {path.name for path in templates.iterdir()} - {"layout.html"} == expected


@every_letter
def test_a_letter_says_each_of_its_values_in_its_text_and_its_page(kind: str, language: str) -> None:
    letter = received(written(language, kind))
    text, words = form(letter, "plain"), Page(form(letter, "html")).words

    assert letter["Content-Language"] == language
    assert not letter.defects
    for value in ("Portal", *map(str, KINDS[kind].values())):
        assert re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)
        assert re.search(rf"(?<!\w){re.escape(value)}(?!\w)", words)


@every_letter
def test_a_letter_labels_what_it_says_of_where_and_when(kind: str, language: str) -> None:
    letter = received(written(language, kind))
    labelled = [f"{label}: {KINDS[kind][name]}" for name, label in LABELS[language].items() if name in KINDS[kind]]

    assert set(labelled) <= set(form(letter, "plain").splitlines())
    assert set(labelled) <= set(Page(form(letter, "html")).words.splitlines())


@every_letter
def test_a_letter_is_not_written_without_one_of_its_values(kind: str, language: str) -> None:
    for name in ("service", *KINDS[kind]):
        with pytest.raises(UndefinedError, match=name):
            written(language, kind, without=name)


@every_letter
def test_a_subject_begins_with_the_code_and_says_nothing_that_strangers_choose(kind: str, language: str) -> None:
    letter = received(written(language, kind))
    subject, lines = letter["Subject"], form(letter, "plain").splitlines()

    assert "Portal" in subject
    assert not [value for name, value in KINDS[kind].items() if name != "code" and str(value) in subject]
    assert subject.startswith("7505 ") == ("code" in KINDS[kind])
    assert ("7505" in lines) == ("code" in KINDS[kind])


@pytest.mark.parametrize("language", letters.LANGUAGES)
def test_no_two_kinds_have_the_same_subject(language: str) -> None:
    subjects = {received(written(language, kind))["Subject"] for kind in KINDS}

    assert len(subjects) == len(KINDS)


@every_letter
def test_only_what_can_be_undone_has_a_link_and_it_shows_where_it_leads(kind: str, language: str) -> None:
    letter = received(written(language, kind))
    text, html = form(letter, "plain"), form(letter, "html")
    expected = [UNDO["undo_url"]] if kind in ("new_device", "email_changed") else []

    assert re.findall(r"\S*://.*", text) == expected
    assert set(expected) <= set(text.splitlines())
    shown = re.findall(r'<a href="([^"<>]*)">([^<>]*)</a>', html)
    assert [tuple(map(unescape, link)) for link in shown] == [(url, url) for url in expected]
    assert [tag for tag, _ in Page(html).tags].count("a") == len(expected)
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
def test_a_link_is_whole_and_opens_a_page(link: str | None) -> None:
    with pytest.raises(ValueError, match=r"^undo_url is not a link"):
        written("en", "new_device", values={"undo_url": link})


def test_the_headers_tell_machines_that_nobody_wrote_this_and_nobody_should_answer() -> None:
    letter = received(written("ru", sender="Портал <no-reply@example.org>"))

    assert letter.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in letter.iter_parts()] == ["text/plain", "text/html"]
    assert letter["From"] == "Портал <no-reply@example.org>"
    assert letter["From"].addresses[0].addr_spec == "no-reply@example.org"
    assert letter["To"] == "ada@example.org"
    assert letter["Date"].datetime == NOON
    assert letter["Message-ID"] == "<0b0e3b4e-4d2c-4a7e-9e7b-2f9f2b1c1d11@example.org>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["X-Auto-Response-Suppress"] == "All"
    assert letter["Content-Language"] == "ru"
    assert letter["MIME-Version"] == "1.0"
    assert not letter.defects


@every_letter
def test_the_page_loads_nothing_and_leaves_colours_to_the_reader(kind: str, language: str) -> None:
    html = form(received(written(language, kind)), "html")
    page = Page(html)

    assert not {"img", "link", "script", "style", "iframe", "form"} & {tag for tag, _ in page.tags}
    assert not {"src", "background", "color", "bgcolor"} & {name for _, given in page.tags for name in given}
    assert {tag for tag, given in page.tags if "href" in given} <= {"a"}
    assert "url(" not in html
    assert not re.search(r"(?<!-)color\s*:", html)
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in page.tags
    assert ("html", {"lang": language}) in page.tags


@every_letter
def test_words_full_of_markup_stay_words(kind: str, language: str) -> None:
    markup = "<b onload='x'>Tea & \"Co\"</b><a href=https://evil.example>{{ code }}"
    values = in_words(kind, markup)
    letter = received(written(language, kind, values=values))
    page, plain = Page(form(letter, "html")), Page(form(received(written(language, kind)), "html"))

    assert page.tags == plain.tags
    # The title of a page says the name of the service once more than its text does.
    assert page.words.count(markup) >= form(letter, "plain").count(markup) >= len(values)
    assert markup in letter["Subject"]


@every_letter
def test_no_words_look_like_the_end_of_a_part(kind: str, language: str) -> None:
    words = f"--{letters.BOUNDARY}"
    letter = received(written(language, kind, values=in_words(kind, words)))

    assert [part.get_content_type() for part in letter.iter_parts()] == ["text/plain", "text/html"]
    assert words in form(letter, "plain")
    assert form(letter, "html").endswith("</html>\n")
    assert not letter.defects


@pytest.mark.parametrize("kind", ["registration_code", "email_changed"])
@pytest.mark.parametrize("language", letters.LANGUAGES)
@pytest.mark.parametrize(
    "words", ["Portal", "Портал для всех, кто умеет читать очень длинные названия порталов", "🫖" * 60]
)
def test_any_script_travels_in_seven_bits_and_short_lines(kind: str, language: str, words: str) -> None:
    letter = written(language, kind, values=in_words(kind, words))
    raw = letter.as_bytes()

    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert words in received(letter)["Subject"]
    assert form(received(letter), "plain").count(words) >= len(in_words(kind, words))


@pytest.mark.parametrize("service", ["a" * 1500, "a  b " * 20 + "c"])
def test_what_mail_cannot_carry_as_it_is_gets_encoded(service: str) -> None:
    letter = written("en", values={"service": service})

    assert max(map(len, letter.as_bytes().split(b"\r\n"))) <= 998
    assert received(letter)["Subject"] == f"7505 is your code for {service}"
    assert service in form(received(letter), "plain")


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
def test_minutes_are_counted_as_people_do(language: str, minutes: int, words: str) -> None:
    for kind in (kind for kind in KINDS if "minutes" in KINDS[kind]):
        letter = received(written(language, kind, values={"minutes": minutes}))

        assert words in form(letter, "plain")
        assert words in Page(form(letter, "html")).words


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
def test_hours_are_counted_as_people_do(language: str, hours: int, words: str) -> None:
    for kind in (kind for kind in KINDS if "hours" in KINDS[kind]):
        letter = received(written(language, kind, values={"hours": hours}))

        assert words in form(letter, "plain")
        assert words in Page(form(letter, "html")).words


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
def test_no_value_breaks_out_of_its_line(where: str, break_: str) -> None:
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

    with pytest.raises(ValueError, match=f"^{where} has a line break") as refused:
        written("en", kind, **changed)

    assert str(fields[where]) not in str(refused.value)


@settings(deadline=None)  # The machine may be busy.
@given(service=st.text(min_size=1, max_size=80))
def test_whatever_the_name_the_letter_has_exactly_its_headers(service: str) -> None:
    expected = written().keys()
    try:
        letter = received(written("ru", values={"service": service}))
    except ValueError:
        assert letters.UNFIT.search(service)
        return

    assert letter.keys() == expected
    assert letter["To"] == "ada@example.org"
    assert letter["Subject"] == f"7505 — ваш код для «{service}»"
    assert f"«{service}»" in form(letter, "plain")


@settings(max_examples=50, deadline=None)
@given(language=st.sampled_from(letters.LANGUAGES), device=st.text(max_size=80))
def test_whatever_a_device_calls_itself_it_stays_on_its_line(language: str, device: str) -> None:
    expected = received(written(language, "new_device"))
    try:
        letter = received(written(language, "new_device", values={"device": device}))
    except ValueError:
        assert letters.UNFIT.search(device)
        return

    assert letter.items() == expected.items()
    assert form(letter, "plain") == form(expected, "plain").replace(f": {WHERE['device']}\n", f": {device}\n")
    page, expected_page = Page(form(letter, "html")), Page(form(expected, "html"))
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
def test_a_letter_is_to_exactly_one_address(to: str) -> None:
    with pytest.raises(ValueError, match="to one address"):
        written(to=to)


def test_a_letter_needs_a_known_language_and_a_zone() -> None:
    with pytest.raises(ValueError, match="no letters in this language"):
        written("tlh")
    with pytest.raises(ValueError, match="zone"):
        written(date=NOON.replace(tzinfo=None))


def test_a_message_id_is_never_folded_or_encoded() -> None:
    message_id = f"<0b0e3b4e-4d2c-4a7e-9e7b-2f9f2b1c1d11@{'auth.' * 20}example.org>"

    assert f"\r\nMessage-ID: {message_id}\r\n".encode() in written(message_id=message_id).as_bytes()


@pytest.mark.parametrize("name", ["Портал для всех, кто читает очень длинные названия порталов", 'Portal, "Inc."'])
def test_the_name_of_the_sender_travels_in_short_encoded_words_or_in_quotes(name: str) -> None:
    sender = str(Address(display_name=name, addr_spec="no-reply@example.org"))
    raw = written(sender=sender).as_bytes()
    # As most mail programs read it; the parser of `EmailMessage` keeps the spaces between encoded words.
    header = str(make_header(decode_header(message_from_bytes(raw)["From"])))

    assert getaddresses([header])[-1][1] == "no-reply@example.org"
    assert name in header.replace("\\", "")
    assert all(len(line) <= 76 for line in raw.split(b"\r\n") if b"=?" in line)


@pytest.mark.parametrize("sender", ["", "Portal", "Portal, Inc. <no-reply@example.org>", "но-реплай@example.org"])
def test_an_email_is_from_exactly_one_address(sender: str) -> None:
    with pytest.raises(ValueError, match="from one address"):
        written(sender=sender)
