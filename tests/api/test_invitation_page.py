"""Invitation page: the link of an email opens it, and only its button accepts the invitation."""

import re

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from auth_service.api.pages.invitation import PASSWORD_REASONS
from auth_service.errors.fields import FieldReason
from auth_service.services.credentials.passwords import REASONS
from tests.support.actors import ADA, Mailbox
from tests.support.administration import Administration
from tests.support.application import MakeApp
from tests.support.stores import Query

PAGE = "/account/invitation"


def test_ad7_an_email_scanner_that_opens_the_link_consumes_nothing(app: Flask, mailbox: Mailbox, query: Query) -> None:
    service = Administration(app, mailbox).service("users:invite")
    service.data("POST", "/invitations", json={"email": ADA}, status=201)
    [link] = re.findall(r"http\S+/account/invitation#\S+", mailbox.letters_to(ADA)[0].text)
    client = app.test_client()

    for method in ("GET", "HEAD"):
        assert client.open(link, method=method).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        assert client.open(link, method=method).status_code == 405
    for path in ("/api/v1/users/invitation", "/api/v1/users/invitation/accept"):
        for method in ("GET", "HEAD"):
            assert client.open(path, method=method).status_code == 405

    assert query("SELECT accepted_at FROM invitations") == [(None,)]
    assert query("SELECT 1 FROM users") == []
    token = mailbox.invitation_sent_to(ADA)
    assert client.post("/api/v1/users/invitation/accept", json={"token": token}).status_code == 200


def test_se8_the_page_has_a_strict_content_security_policy_and_loads_nothing(app: Flask) -> None:
    first, second = (app.test_client().get(PAGE) for _ in range(2))

    assert first.content_type == "text/html; charset=utf-8"
    assert first.headers["Cache-Control"] == "no-store"
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in first.headers
    policy = dict(part.strip().split(" ", 1) for part in first.headers["Content-Security-Policy"].split(";"))
    nonce = policy["script-src"].removeprefix("'nonce-").removesuffix("'")
    assert policy == {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert nonce not in second.text
    page = BeautifulSoup(first.text, "html.parser")
    assert [tag["nonce"] for tag in page.find_all(["script", "style"])] == [nonce, nonce]
    assert not page.select("[style], [onclick], [onsubmit], form[action]"), "the policy blocks them"
    loaded = [tag.get("src") or tag.get("href") for tag in page.find_all(["script", "link", "img", "a", "iframe"])]
    assert [link for link in loaded if link] == ["data:,"], "the page loads no external resource"


@pytest.mark.parametrize(
    ("accept_language", "language", "title"),
    [
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru", "Приглашение"),
        ("en-GB", "en", "Your invitation"),
        ("fr", "en", "Your invitation"),
    ],
)
def test_ad7_the_page_is_in_the_language_of_the_browser(
    app: Flask, accept_language: str, language: str, title: str
) -> None:
    response = app.test_client().get(PAGE, headers={"Accept-Language": accept_language})

    page = BeautifulSoup(response.text, "html.parser")
    assert page.html is not None
    assert page.html["lang"] == language == response.headers["Content-Language"]
    assert [heading.text for heading in page.find_all("h1")] == [title]
    assert "Accept-Language" in response.vary
    assert "{" not in "".join(paragraph.text for paragraph in page.find_all("p")), "every placeholder is replaced"


@pytest.mark.parametrize("language", ["en", "ru"])
def test_ad7_the_page_has_a_hidden_message_for_every_outcome_and_every_reason(app: Flask, language: str) -> None:
    page = BeautifulSoup(app.test_client().get(PAGE, headers={"Accept-Language": language}).text, "html.parser")

    outcomes = [tag["id"] for tag in page.select("[role=status] > *")]
    assert outcomes == [
        "reading",
        "busy",
        "done",
        "no_token",
        "invitation_unknown",
        "registration_closed",
        "email_taken",
        "too_many_requests",
        "unreadable",
        "trouble",
    ]
    for message in page.select("[role=status] > *, [data-reason]"):
        assert message.text.strip()
        assert message.has_attr("hidden")
    # An invited person has no current password that a new one could repeat.
    assert {*PASSWORD_REASONS} == {*REASONS} - {FieldReason.UNCHANGED} | {"other_reason"}


def test_ad7_the_page_names_the_minimum_length_of_passwords_of_this_deployment(make_app: MakeApp) -> None:
    page = make_app(password_min_length=12).test_client().get(PAGE).text

    assert page.count("at least 12 characters") + page.count("At least 12 characters") == 2
