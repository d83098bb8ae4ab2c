"""Email encoding: headers, addresses and MIME parts, which no value can break (header injection)."""

from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.utils import getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth_service.services.email import rendering
from tests.support.rendered_emails import (
    KINDS,
    NOON,
    WHERE,
    WORDS,
    HtmlBody,
    body,
    every_email,
    parsed,
    rendered,
    with_text,
)


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
    kind = {"code": "registration_code", "reason": "account_banned"}.get(where, "email_changed")
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
        assert rendering.FORBIDDEN.search(service)
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
        assert rendering.FORBIDDEN.search(device)
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
