"""Letters, as the programs of their readers take them apart."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from auth_service.services import letters

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def written(language: str = "en", **changed: Any) -> EmailMessage:
    values = {"code": "7505", "minutes": 10, "service": "Portal"} | changed.pop("values", {})
    fields = {
        "to": "ada@example.org",
        "sender": "no-reply@example.org",
        "message_id": "<0b0e3b4e-4d2c-4a7e-9e7b-2f9f2b1c1d11@example.org>",
        "date": NOON,
        "values": values,
    }
    return letters.render("registration_code", language, **(fields | changed))


def received(message: EmailMessage) -> EmailMessage:
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


def test_there_is_a_letter_in_every_language() -> None:
    assert [received(written(language))["Content-Language"] for language in letters.LANGUAGES] == ["en", "ru"]


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


@pytest.mark.parametrize("language", letters.LANGUAGES)
def test_the_page_loads_nothing_links_nowhere_and_leaves_colours_to_the_reader(language: str) -> None:
    html = form(received(written(language)), "html")
    page = Page(html)

    assert not {"a", "img", "link", "script", "style", "iframe", "form"} & {tag for tag, _ in page.tags}
    assert not {"src", "href", "background", "color", "bgcolor"} & {name for _, given in page.tags for name in given}
    assert "http" not in html
    assert "url(" not in html
    assert not re.search(r"(?<!-)color\s*:", html)
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in page.tags
    assert ("html", {"lang": language}) in page.tags


@pytest.mark.parametrize("language", letters.LANGUAGES)
def test_a_name_full_of_markup_stays_a_name(language: str) -> None:
    letter = received(written(language, values={"service": "<b onload='x'>Tea & Co</b>"}))
    page = Page(form(letter, "html"))

    assert "b" not in {tag for tag, _ in page.tags}
    assert "<b onload='x'>Tea & Co</b>" in page.words
    assert "<b onload='x'>Tea & Co</b>" in form(letter, "plain")
    assert "<b onload='x'>Tea & Co</b>" in letter["Subject"]


@pytest.mark.parametrize("language", letters.LANGUAGES)
@pytest.mark.parametrize(
    "service", ["Portal", "Портал для всех, кто умеет читать очень длинные названия порталов", "🫖" * 60]
)
def test_any_script_travels_in_seven_bits_and_short_lines(language: str, service: str) -> None:
    letter = written(language, values={"service": service})
    raw = letter.as_bytes()

    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert service in received(letter)["Subject"]
    assert service in form(received(letter), "plain")


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
    assert words in form(received(written(language, values={"minutes": minutes})), "plain")


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
@pytest.mark.parametrize("where", ["to", "sender", "message_id", "service", "code"])
def test_no_value_breaks_out_of_its_line(where: str, break_: str) -> None:
    given_ = {
        "to": f"ada@example.org{break_}",
        "sender": f"no-reply@example.org{break_}",
        "message_id": f"<1@example.org>{break_}",
        "service": f"Portal{break_}",
        "code": f"7505{break_}",
    }
    changed = {where: given_[where]} if where in ("to", "sender", "message_id") else {"values": {where: given_[where]}}

    with pytest.raises(ValueError, match=f"^{where} has a line break") as refused:
        written(**changed)

    assert "example" not in str(refused.value)
    assert "7505" not in str(refused.value)


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


def test_a_letter_needs_a_known_language_a_zone_and_all_its_values() -> None:
    with pytest.raises(ValueError, match="no letters in this language"):
        written("tlh")
    with pytest.raises(ValueError, match="zone"):
        written(date=NOON.replace(tzinfo=None))
    with pytest.raises(UndefinedError):
        letters.render(
            "registration_code",
            "en",
            to="ada@example.org",
            sender="no-reply@example.org",
            message_id="<1@example.org>",
            date=NOON,
            values={"code": "7505", "minutes": 10},
        )


def test_a_message_id_is_never_folded_or_encoded() -> None:
    message_id = f"<0b0e3b4e-4d2c-4a7e-9e7b-2f9f2b1c1d11@{'auth.' * 20}example.org>"

    assert message_id.encode() in written(message_id=message_id).as_bytes()


def test_threads_that_share_headers_write_the_same_letter() -> None:
    expected = {wire: written("ru").as_bytes(policy=wire) for wire in (policy.SMTP, policy.default)}
    differing: list[bytes] = []

    def write(wire: Any) -> None:
        differing.extend(raw for _ in range(100) if (raw := written("ru").as_bytes(policy=wire)) != expected[wire])

    threads = [Thread(target=write, args=(wire,)) for wire in (policy.SMTP, policy.default) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert differing == []
