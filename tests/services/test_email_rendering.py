"""Email rendering: subject, text and HTML part of every kind of email, as mail clients parse them."""

import re
from html import unescape
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from auth_service.services.email import rendering
from tests.support.rendered_emails import (
    CANCEL,
    INVITATION,
    KINDS,
    NOON,
    UNDO,
    HtmlBody,
    body,
    every_email,
    parsed,
    rendered,
)

INVITATION_URL = INVITATION["invitation_url"]
LABELS = {
    "en": {"at": "When", "device": "Device", "address": "IP address", "new_email": "New address"},
    "ru": {"at": "Когда", "device": "Устройство", "address": "IP-адрес", "new_email": "Новый адрес"},
}


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
    # A boolean chooses between two texts.
    shown = (str(value) for value in KINDS[kind].values() if not isinstance(value, bool))
    for value in ("Portal", *shown):
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
def test_only_links_that_revert_cancel_or_invite_are_in_emails_and_show_their_url(kind: str, language: str) -> None:
    email = parsed(rendered(language, kind))
    text, html = body(email, "plain"), body(email, "html")
    with_link = {
        **dict.fromkeys(("new_device", "email_changed", "second_factor_reset_done"), UNDO["undo_url"]),
        **dict.fromkeys(("second_factor_reset_asked", "second_factor_reset_near"), CANCEL["cancel_url"]),
        "invitation": INVITATION_URL,
    }
    expected = [with_link[kind]] if kind in with_link else []

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


def test_an_email_needs_a_known_language_and_a_time_zone() -> None:
    with pytest.raises(ValueError, match="no letters in this language"):
        rendered("tlh")
    with pytest.raises(ValueError, match="zone"):
        rendered(date=NOON.replace(tzinfo=None))
